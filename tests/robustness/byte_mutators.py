"""Random damage to the bytes of any file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from fuzzer import DAMAGE

Mutator = Callable[[bytes, np.random.Generator], bytes]

STRANGERS = (
    b"", b"\0", b"\n", b"PK\x05\x06" + bytes(18), b"PK\x03\x04", b"\x89HDF\r\n\x1a\n" + bytes(88), b"\x93NUMPY\x01\x00",
    b"PAR1PAR1", b"\x80\x02.",
    b"cposix\ngetpid\n(tR.", b"\x1f\x8b\x08" + bytes(7), b"<?xml version='1.0'?>", b"{}", b"[]",
    b"null", b"%PDF-1.7", b"DICM", b"#!/bin/sh\n", b"\xff" * 4096,
)  # fmt: skip
"""Whole files of other kinds, or the beginnings of such."""


def splice(content: bytes, rng: np.random.Generator) -> bytes:
    """Put a block of the file somewhere else in it."""
    size = int(rng.integers(1, max(2, len(content) // 4)))
    source, place = (int(where) for where in rng.integers(len(content) + 1, size=2))
    return content[:place] + content[source : source + size] + content[place + size :]


def stranger(content: bytes, rng: np.random.Generator) -> bytes:
    """Another kind of file under this one's name, or before or after its content."""
    other = STRANGERS[rng.integers(len(STRANGERS))]
    return (other, other + content, content + other)[rng.integers(3)]


BYTES: tuple[Mutator, ...] = (*DAMAGE, splice, stranger)


def one_or_more(mutators: Sequence[Mutator]) -> Mutator:
    """A mutator that applies one of these, and now and then two or three, until nothing can be read as before."""

    def change(content: bytes, rng: np.random.Generator) -> bytes:
        first = mutators[rng.integers(len(mutators))]
        changed = first(content, rng)
        if first.__name__.endswith("_bomb"):
            return changed  # a mutator that read it would expand it
        for _ in range(int(rng.random() < 0.2) + int(rng.random() < 0.1)):
            again = mutators[rng.integers(len(mutators))]
            if again.__name__.endswith("_bomb"):
                break
            try:
                changed = again(changed, rng)
            except Exception:  # it reads what it changes, which the first change may have made unreadable
                break
        return changed

    return change
