"""The Redis: how it is found, reached, asked and understood."""
