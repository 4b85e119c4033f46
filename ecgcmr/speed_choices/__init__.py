"""Measures once for each machine which of several equal ways to compute is the fastest, and remembers it."""
