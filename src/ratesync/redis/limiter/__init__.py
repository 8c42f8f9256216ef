"""The limiter of many processes, by way of a Redis."""
