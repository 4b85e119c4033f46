"""Who withdraws in this run, as hashes; and whether the list matched anybody."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.preparation.splits import subject_hash
from ecgcmr.preparation.withdrawn import read_withdrawn


@dataclass(frozen=True)
class Withdrawal:
    """The list of those who withdraw in this run.

    Attributes:
        file: The list's own name; empty if none was given.
        ids: The ids in it.
    """

    file: str = ""
    ids: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, path: Path | None) -> Withdrawal:
        """Read the list, if there is one.

        Raises:
            UserError: It cannot be read or holds no id.
        """
        return cls() if path is None else cls(path.name, tuple(read_withdrawn(path)))

    def hashes(self, key: bytes) -> set[str]:
        """Return the hashes of all listed."""
        return {subject_hash(subject, key) for subject in self.ids}

    def check(self, key: bytes, known: Collection[str], where: str) -> int:
        """Return how many of those listed are known.

        A list may well speak of a whole biobank and the cohort be a part of it; but a list that matches nobody has more
        likely ids of another kind, and would leave everybody in.

        Args:
            key: The secret key.
            known: Hashes of the subjects there are or were.
            where: Where they were looked for, for the message.

        Raises:
            UserError: A list was given and nobody in it is known.
        """
        matched = len(self.hashes(key) & set(known))
        if self.ids and not matched:
            raise UserError(
                f"--withdrawn {self.file}: matches nobody: none of its {len(self.ids)} ids is a subject of {where}; "
                "check the ids (leading zeros, prefixes) and --key-file, or leave it out"
            )
        return matched


def file_hash(option: str, name: str, key: bytes) -> str:
    """Return a keyed hash of a raw file's name, from which neither name nor subject can be known.

    Args:
        option: ``ecg`` or ``cmr``: both folders may hold the same name.
        name: The name below that folder.
        key: The secret key.
    """
    return subject_hash(f"{option} file\0{name}", key)
