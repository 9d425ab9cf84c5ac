"""The web front end: for now one status page and a health answer for monitors."""
