"""Importing weights that the authors of the method published into this package's encoder files."""
