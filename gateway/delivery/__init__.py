"""Handing mail on: outgoing bytes, the in-session relay, and the queue for what could not go."""
