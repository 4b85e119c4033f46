"""Benchmarks: how fast cleaning, loading and training run on this machine, as ratios within one run."""
