"""The queue in a Redis."""
