"""Calls on their way to workers."""
