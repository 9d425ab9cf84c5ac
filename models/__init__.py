"""Bytes in, probability and reasons out: the same code in service and in training.

This room imports none of the gateway and none of training.
"""
