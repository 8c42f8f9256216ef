"""Two-way sync: the I/O around :mod:`ratesync.rules.reconcile` and its neighbours."""
