"""Pure decisions: (state, input, now, random) -> decision. No clock, randomness, I/O, async or logging."""
