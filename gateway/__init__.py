"""The gateway: a message in flight is never lost and always gets one clear answer."""
