"""Diseases as sets of ICD-10 prefixes: the built-in ones and any from a list of codes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.yaml_file import read_yaml


@dataclass(frozen=True)
class Disease:
    """A disease as a set of ICD-10 prefixes.

    Attributes:
        name: Short name, the stem of its three labels.
        title: Full name.
        prefixes: ICD-10 codes without dot; a code belongs to the disease if it starts with one of them. The lists
            follow Turgut et al. (arXiv 2308.05764); I249 and I250, lost there to a missing comma, are included.
    """

    name: str
    title: str
    prefixes: tuple[str, ...]

    def includes(self, code: str) -> bool:
        """Tell whether an ICD-10 code, with or without dot, belongs to the disease."""
        return clean_code(code).startswith(self.prefixes)


def clean_code(code: str) -> str:
    """Return an ICD-10 code in capitals without dot and space around it."""
    return code.replace(".", "").strip().upper()


_CAD_CODES = (
    *("I200", "I201", "I208", "I209"),
    *("I210", "I211", "I212", "I213", "I214", "I219"),
    *("I220", "I221", "I228", "I229"),
    *("I240", "I248", "I249"),
    *("I250", "I251", "I252", "I253", "I254", "I255", "I256", "I258", "I259"),
)

DISEASES = (
    Disease("cad", "coronary artery disease", _CAD_CODES),
    Disease("af", "atrial fibrillation or flutter", ("I48",)),
    Disease("dm", "diabetes mellitus", ("E10", "E11", "E12", "E13", "E14")),
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PREFIX = re.compile(r"[A-Z][0-9A-Z]{0,6}")
_MOST_BYTES = 1 << 20


def load_code_lists(path: str | Path) -> tuple[Disease, ...]:
    """Read further diseases from a YAML file.

    The file maps a name to a title and to prefixes of ICD-10 codes, with or without dot::

        heart_failure:
          title: heart failure
          prefixes: [I50, I11.0]

    Args:
        path: The file.

    Returns:
        The diseases in the order of the file; without a title the name stands for it.

    Raises:
        UserError: The file is missing or no such list, or a name or prefix is impossible.
    """
    path = Path(path)
    entries = read_yaml(path, what="list of codes", most=_MOST_BYTES, shown=path.name)
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path.name}: must map names of diseases to a title and prefixes of ICD-10 codes")
    return tuple(_disease(path.name, name, entry) for name, entry in entries.items())


def _disease(file: str, name: object, entry: object) -> Disease:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"{file}: {name!r} is no name of a disease; use lower-case letters, digits and _")
    if not isinstance(entry, dict) or set(entry) - {"title", "prefixes"}:
        raise UserError(f"{file}: {name}: give it a title and prefixes, nothing else")
    title, prefixes = entry.get("title", name.replace("_", " ")), entry.get("prefixes")
    if not isinstance(title, str) or not title.strip() or len(title) > 200:
        raise UserError(f"{file}: {name}: its title is no text")
    if not isinstance(prefixes, list) or not prefixes:
        raise UserError(f"{file}: {name}: has no prefixes; list ICD-10 codes or their beginnings, such as [I50, I110]")
    codes = [clean_code(prefix) if isinstance(prefix, str) else "" for prefix in prefixes]
    for prefix, code in zip(prefixes, codes, strict=True):
        if not _PREFIX.fullmatch(code):
            raise UserError(f"{file}: {name}: {prefix!r} is no beginning of an ICD-10 code, such as I50")
    return Disease(name, title.strip(), tuple(codes))
