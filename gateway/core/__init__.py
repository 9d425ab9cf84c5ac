"""The gateway's words: pure values that every room shares; standard library only."""
