"""Frozen values: the nouns of ratesync. Standard library and attrs only."""
