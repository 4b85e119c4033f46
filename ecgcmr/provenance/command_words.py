"""A command line as a run's note keeps it: without the folders of this machine and without secrets."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ecgcmr.private_text import NOT_SHOWN, harmless, is_secret


def harmless_command(words: Sequence[str]) -> str:
    """Return ``ecgcmr`` and its words as one line for a shell.

    Of an absolute path, or one that climbs, the last name stays; a relative one below the working folder stays as it
    was typed. What is called a password, a token or the like keeps its name alone.
    """
    shown, hides = ["ecgcmr"], False
    for word in words:
        flag, equals, value = word.partition("=")
        if hides and not word.startswith("--"):
            shown.append(NOT_SHOWN)
        elif equals and is_secret(flag):
            shown.append(f"{flag}={NOT_SHOWN}")
        elif equals:
            shown.append(f"{flag}={harmless(value)}")
        else:
            shown.append(harmless(word))
        hides = word.startswith("--") and not equals and is_secret(flag)
    return shlex.join(shown)
