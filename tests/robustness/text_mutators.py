"""Changes to text files that keep them text: extreme numbers, odd characters, lost and repeated lines and cells."""

from __future__ import annotations

import re

import numpy as np

Generator = np.random.Generator

EXTREMES = (
    b"1e308", b"-1e308", b"1e999", b"-1", b"0", b"-0.0", b"nan", b".nan", b"NaN", b"inf", b".inf", b"-Infinity",
    b"1e-320",
    b"9223372036854775807", b"-9223372036854775809", b"2147483648", b"1" + b"0" * 40, b"9" * 6000, b"0x7f", b"1_000",
    b"0.1.2", b"--5", b"1,5", b"2038-01-19", b"12:30:45", b"1e", b"",
)  # fmt: skip
"""What stands in place of a number; all far beyond or beside what makes sense, so that nothing large is asked for."""

ODD = (
    b"\0",
    b"\x1b[31mred\x1b[0m", b"\x07", b"\x9b5n", b"\xe2\x80\xae", b"\xef\xbb\xbf", b"\xff", b"\xc3\x28", b"\xed\xa0\x80",
    "ü".encode(), "名前".encode(), b"\r", b"\x0b", b"\x85", "\u2028".encode(), b"<b>|</b>", b"%s%n{0}",
    b"'", b'"', b"\\",
    b"$(true)", b"\t", b"=1+1", b"A" * 70_000,
)  # fmt: skip
"""Control characters, terminal escapes, text in no or another encoding, and what other programs take for commands."""

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def extreme_number(content: bytes, rng: Generator) -> bytes:
    """Replace one number by an extreme one."""
    found = list(_NUMBER.finditer(content[:200_000]))
    if not found:
        return content + EXTREMES[rng.integers(len(EXTREMES))]
    place = found[int(rng.integers(len(found) if rng.random() < 0.5 else min(len(found), 40)))]
    return content[: place.start()] + EXTREMES[rng.integers(len(EXTREMES))] + content[place.end() :]


def odd_characters(content: bytes, rng: Generator) -> bytes:
    """Put odd characters somewhere, near the beginning half of the time."""
    place = int(rng.integers((min(len(content), 300) if rng.random() < 0.5 else len(content)) + 1))
    return content[:place] + ODD[rng.integers(len(ODD))] + content[place:]


def lines(content: bytes, rng: Generator) -> bytes:
    """Lose, repeat, exchange or join lines, or change how they end."""
    parts = content.split(b"\n")
    here, there = (int(place) for place in rng.integers(len(parts), size=2))
    ways = int(rng.integers(6))
    if ways == 0:
        del parts[here]
    elif ways == 1:
        parts[here:here] = [parts[there]] * int(rng.integers(1, 50))
    elif ways == 2:
        parts[here], parts[there] = parts[there], parts[here]
    elif ways == 3:
        return b"\r".join(parts)
    elif ways == 4:
        return content.replace(b"\n", b" ")
    else:
        parts[here] = b"," * int(rng.integers(1, 2000))
    return b"\n".join(parts)


def other_encoding(content: bytes, rng: Generator) -> bytes:
    """The same text in UTF-16 or UTF-32, or with a mark of one that it is not in."""
    text = content.decode("utf-8", "replace")
    ways = ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp500")
    which = int(rng.integers(len(ways) + 1))
    return b"\xff\xfe" + content if which == len(ways) else text.encode(ways[which], "replace")


TEXT = (extreme_number, extreme_number, odd_characters, lines, other_encoding)
