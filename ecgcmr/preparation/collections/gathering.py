"""Taking a collection's candidates and labels, and refusing in one line what it may not return."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.formats.record import UNITS
from ecgcmr.formats.record_reader import RecordReader
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.preparation.collections.protocol import Candidate, Collection, SearchNotes
from ecgcmr.preparation.label_columns import LabelColumn, label_columns, label_matrix
from ecgcmr.preparation.labels import check_names
from ecgcmr.preparation.unusable_labels import check_usable
from ecgcmr.shards.layout import SPLITS
from ecgcmr.text import printable


@dataclass(frozen=True)
class Gathered:
    """What a collection came to.

    Attributes:
        columns: Its L labels.
        candidates: n of them, each subject and id once.
        labels: (n, L), NaN = missing.
    """

    columns: tuple[LabelColumn, ...]
    candidates: list[Candidate] = field(repr=False)
    labels: npt.NDArray[np.float32] = field(repr=False)


def gather(collection: Collection, title: str, notes: SearchNotes) -> Gathered:
    """Ask a collection for all it has, and check it.

    Args:
        collection: The collection.
        title: What messages call it.
        notes: Where it says what it left out.

    Raises:
        UserError: It raised an error or returned what it may not; the message names the collection and what that was.
    """
    columns = _columns(collection, title)
    found = _call(title, collection, "candidates", notes)
    if not isinstance(found, Iterable):
        raise UserError(f"{title}: candidates() returned {_kind(found)}, not candidates one after the other")
    entries = {column.entry for column in columns}
    candidates: list[Candidate] = []
    seen = _Seen()
    for number, candidate in enumerate(found, 1):
        problem = _problem(candidate, entries, len(columns)) or seen.problem(candidate, number)
        if problem:
            raise UserError(f"{title}: candidate {number} {problem}")
        candidates.append(candidate)
    if not candidates:
        raise UserError(f"{title}: returned no candidate, so that there is nothing to prepare")
    named = [candidate.labels for candidate in candidates if isinstance(candidate.labels, Mapping)]
    if named and len(named) < len(candidates):
        raise UserError(f"{title}: gives labels by name for some candidates and as arrays for others; choose one way")
    arrays = [candidate.labels for candidate in candidates if not isinstance(candidate.labels, Mapping)]
    labels = np.stack(arrays) if arrays else label_matrix(named, columns, notes.counts)
    if named and not _is_of_this_program(collection):
        check_usable(columns, labels, notes, title=title, mend="labels()")
    return Gathered(columns, candidates, labels)


class _Seen:
    """The candidates so far: who has which id and file and is in which split."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._splits: dict[str, str | None] = {}
        self._owners: dict[tuple[Path, str], tuple[int, str]] = {}

    def problem(self, candidate: Candidate, number: int) -> str:
        """Say what a further candidate has in common with an earlier one and may not; empty if nothing."""
        first = self._numbers.setdefault(candidate.identity, number)
        if first != number:
            return (
                f"is of the same subject as candidate {first} and has its id; give each recording of a subject another"
            )
        for part, _, path in candidate.files:
            other, owner = self._owners.setdefault(candidate.whereabouts(part, path), (number, candidate.subject))
            if other != number and (part == "ecg" or owner != candidate.subject):
                return f"is of the same file as candidate {other}; give each its own"
        split = self._splits.setdefault(candidate.subject, candidate.split)
        if split != candidate.split:
            return (
                f"is in split {candidate.split}, and another one of its subject in {split}; put all recordings of a "
                "subject into one split"
            )
        return ""


def _call(title: str, collection: Collection, method: str, *arguments: object) -> Any:
    """Return what a method of a collection returns, a generator as a list; whatever it raises becomes one line."""
    try:
        answer = getattr(collection, method)(*arguments)
        return list(answer) if isinstance(answer, Iterator) else answer
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if _is_of_this_program(collection):
            raise  # a fault of this program, to be shown in full
        raise UserError(
            f"{title}: {method}() raised {type(error).__name__}: {printable(error, 200)}{_place(error, collection)}"
        ) from error


def _is_of_this_program(collection: Collection) -> bool:
    return type(collection).__module__.startswith("ecgcmr.")


def _place(error: BaseException, collection: Collection) -> str:
    """Return the last line of the collection's own file that the error came through; empty if there is none."""
    module = sys.modules[type(collection).__module__]
    lines = [line for line in extract_tb(error.__traceback__) if line.filename == vars(module).get("__file__")]
    return f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""


def _columns(collection: Collection, title: str) -> tuple[LabelColumn, ...]:
    declared = _call(title, collection, "labels")
    if not isinstance(declared, Sequence) or isinstance(declared, str):
        raise UserError(f"{title}: labels() returned {_kind(declared)}, not a list of DeclaredLabel")
    columns: list[LabelColumn] = []
    for label in declared:
        if isinstance(label, DeclaredLabel):
            columns += label_columns(label)
        elif isinstance(label, LabelColumn):
            columns.append(label)
        else:
            raise UserError(f"{title}: labels() returned {_kind(label)} among its labels, not a DeclaredLabel")
    try:
        check_names(columns)
    except UserError as error:
        raise UserError(f"{title}: labels(): {error}") from error
    return tuple(columns)


def _problem(candidate: Any, entries: set[str], count: int) -> str:
    """Say what is wrong with a candidate; empty if nothing is. No id is part of a message."""
    if not isinstance(candidate, Candidate):
        return f"is {_kind(candidate)}, not a Candidate"
    for name in ("subject", "id", "ecg_name", "cmr_name"):
        if not isinstance(value := getattr(candidate, name), str):
            return f"has {_kind(value)} as its {name}, not a text"
        if any("\ud800" <= sign <= "\udc7f" or "\udd00" <= sign <= "\udfff" for sign in value):
            return f"has {'an' if name[0] in 'aei' else 'a'} {name} with half a character in it"
    if not candidate.subject:
        return "has no subject"
    for name, kinds in (("ecg", Path | None), ("cmr", Path | ImageFiles | None)):
        if not isinstance(value := getattr(candidate, name), kinds):
            return f"has {_kind(value)} as its {name}, not a pathlib.Path"
    if candidate.ecg is None and candidate.cmr is None:
        return "has neither an ECG nor images"
    if candidate.read_by is not None:
        if not isinstance(candidate.read_by, RecordReader) or not is_dataclass(candidate.read_by):
            return f"has {_kind(candidate.read_by)} as its read_by, not a dataclass that is a RecordReader"
        if candidate.read_by.unit not in UNITS:
            return f"is read in {printable(candidate.read_by.unit, 40)!r}; choose one of {', '.join(UNITS)}"
        if candidate.ecg is None:
            return "says what reads its ECG, and has none"
    if candidate.split is not None and candidate.split not in SPLITS:
        return f"is in split {printable(candidate.split, 40)!r}; choose one of {', '.join(SPLITS)}, or None"
    return _label_problem(candidate.labels, entries, count)


def _label_problem(labels: Any, entries: set[str], count: int) -> str:
    if isinstance(labels, np.ndarray):
        fits = labels.shape == (count,) and labels.dtype.kind == "f"
        return "" if fits else f"has labels of shape {labels.shape}, not ({count},) numbers"
    if not isinstance(labels, Mapping):
        return f"has {_kind(labels)} as its labels, not a dict"
    for name, value in labels.items():
        if name not in entries:
            return f"has a label {printable(name, 60)} that labels() does not declare"
        if not isinstance(value, str | bool | int | float | np.generic | None):
            return f"has {_kind(value)} as label {printable(name, 60)}; give a number, a truth value, a text or None"
    return ""


def _kind(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
