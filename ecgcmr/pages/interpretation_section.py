"""What a stage learned, as an experiment's ``interpretation/`` has it: scores in tables, then the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgcmr.json_file import recall_json
from ecgcmr.pages.markup import Html, joined
from ecgcmr.pages.tables import table

FOLDER = "interpretation"

_UNTRAINED = "trained"
_MASS_NOTE = (
    "A ratio of 1 is what a map without any preference gives; controls say what architecture, other subjects and the "
    "picture alone give."
)


def interpretation_tables(folder: Path) -> Html:
    """Return the tables of an experiment's ``interpretation/``; nothing of files that are not there.

    Args:
        folder: Of the experiment.
    """
    makers = {"localisation.json": _localisation, "retrieval.json": _retrieval}
    found = {name: _entries(folder / FOLDER / name) for name in makers}
    return joined(makers[name](entries) for name, entries in found.items() if entries)


def _entries(path: Path) -> list[Mapping[str, Any]]:
    content = recall_json(path) if path.is_file() else None
    return [entry for entry in content if isinstance(entry, Mapping)] if isinstance(content, list) else []


def _localisation(entries: Sequence[Mapping[str, Any]]) -> Html:
    rows = [
        (
            _words(entry.get("kind")),
            _words(entry.get("region")),
            _words(entry.get("control") or _UNTRAINED),
            _number(entry.get("share_of_mass")),
            _number(entry.get("share_of_area")),
            _interval(entry),
            _count(entry.get("n")),
        )
        for entry in entries
    ]
    titles = ("map", "region", "networks", "share of mass", "share of area", "ratio (95 % interval)", "n")
    return table("Localisation: where the map's mass lies", titles, rows, words=3, note=_MASS_NOTE)


def _retrieval(entries: Sequence[Mapping[str, Any]]) -> Html:
    keys = ("recall@1", "recall@5", "recall@10")
    rows = [
        (
            _words(entry.get("direction")),
            *(_number(entry.get(key)) for key in keys),
            _number(entry.get("median_rank")),
            _number(entry.get("chance")),
        )
        for entry in entries
    ]
    titles = ("direction", *keys, "median rank", "recall@1 by chance")
    return table("Retrieval among the subjects of the test split", titles, rows)


def _words(value: Any) -> str:
    return str(value).replace("_", " ")


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "-"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _interval(entry: Mapping[str, Any]) -> str:
    value, low, high = (entry.get(name) for name in ("ratio", "ci_low", "ci_high"))
    if not all(isinstance(number, int | float) for number in (value, low, high)):
        return _number(value)
    return f"{value:.2f} ({low:.2f}-{high:.2f})"
