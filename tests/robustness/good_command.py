"""Running a command that has to succeed, to make good files with it."""

from __future__ import annotations


def command(*words: object) -> None:
    """Run a command that has to succeed."""
    from ecgcmr.cli import main

    code = main([str(word) for word in words])
    if code:
        raise RuntimeError(f"the good files cannot be made: {words} ended with {code}")
