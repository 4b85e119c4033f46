"""Lets ``python -m ecgcmr`` do what the ``ecgcmr`` command does."""

from ecgcmr.cli import console

if __name__ == "__main__":
    console()
