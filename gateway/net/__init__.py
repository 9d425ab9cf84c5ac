"""Talking to the network: the resolver, next hops, scanners. Every answer here is hostile input."""
