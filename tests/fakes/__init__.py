"""Real little servers for tests to talk to."""
