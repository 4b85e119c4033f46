"""The candidates of a search, what they are asked to be, and by which entries of the command line they are fitted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jsonargparse import Namespace

from ecgcmr.errors import UserError
from ecgcmr.text import printable
from ecgcmr.training.halving import MOST_CANDIDATES

_NAME = re.compile(r"[A-Za-z0-9][\w+-]{0,63}")
_SHARED: dict[str, tuple[str, ...]] = {
    "model": ("class_path", "init_args", "monitor"),
    "data": (
        *("class_path", "init_args", "root", "input", "paired", "samples", "leads", "leave_out_leads", "covariates"),
        *("labels", "diseases", "train_labels", "train_fraction", "pseudo_labels", "selection", "seed"),
        *("evaluation_windows", "predict_split"),
    ),
    "trainer": (
        *("accelerator", "devices", "num_nodes", "strategy"),
        *("default_root_dir", "fast_dev_run", "overfit_batches", "limit_train_batches"),
        *("limit_val_batches", "limit_test_batches", "limit_predict_batches"),
    ),
}
"""Room -> what all candidates share: what they learn from, what they are given in a test, what judges them, and the
devices, which are those of the command. With others their scores would not be comparable, or the row of a table would
be another method than it says."""


@dataclass
class Candidate:
    """One way to train that a search tries.

    Attributes:
        name: Of its folder, RUN/search/NAME, and in what is printed.
        set: Dotted settings over the config and the command line, such as ``{model.optimiser.lr: 1.0e-3}``.
    """

    name: str
    set: dict[str, Any] = field(default_factory=dict)

    def words(self) -> list[str]:
        """Return its settings as words of a command line."""
        return words_of(self.set)


def words_of(settings: dict[str, Any]) -> list[str]:
    """Return dotted settings as words of a command line."""
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]


def candidates_of(entries: Sequence[Any]) -> list[Candidate]:
    """Return the candidates that a config's ``search`` names, checked.

    Args:
        entries: Mappings, or namespaces of the parser, of ``name`` and ``set``.

    Raises:
        UserError: There are none, too many, two of one name, or a setting that a search may not choose.
    """
    found = [Candidate(entry["name"], _plain(entry["set"] or {})) for entry in entries]
    names = [candidate.name for candidate in found]
    if not 1 <= len(found) <= MOST_CANDIDATES:
        raise UserError(f"search has {len(found)} candidates: name 1 to {MOST_CANDIDATES}, or set search: null")
    for name in names:
        if not _NAME.fullmatch(name):
            raise UserError(f"search: candidate '{printable(name, 60)}': a name is letters, digits and + - _ alone")
        if names.count(name) > 1:
            raise UserError(f"search: two candidates are named {name}; give each a name of its own")
    for candidate in found:
        odd = [key for key in candidate.set if not key.startswith(tuple(f"{room}." for room in _SHARED))]
        if odd:
            raise UserError(
                f"search: candidate {candidate.name} sets {printable(odd[0], 60)}: it may set what is of "
                f"{', '.join(_SHARED)}"
            )
        unlike = [key for key in candidate.set if _is_shared(key)]
        if unlike:
            raise UserError(
                f"search: candidate {candidate.name} sets {printable(unlike[0], 60)}, which candidates share because "
                "they learn from it, are judged by it or run on it: set it for all, in the config"
            )
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON would give it back, without the parser's namespaces, as of an encoder given whole."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _is_shared(key: str) -> bool:
    room, _, name = key.replace(".init_args.", ".").partition(".")
    return name.rstrip("+").split(".")[0] in _SHARED[room]
