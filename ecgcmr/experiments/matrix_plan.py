"""A matrix of experiments in one file: every combination of encoders, objectives, seeds or whatever else is varied.

```yaml
matrix:
  encoder:                                 # an axis: name of a choice -> the entries that it changes, by dotted name
    vit: {}
    cnn: {encoder: ../encoders/ecg_cnn.yaml}
  objective:
    ntxent: {}
    siglip: {stages.alignment.set.model.objective: {class_path: ecgcmr.objectives.SigLIPLoss}}
  seed: [0, 1, 2]                          # or the values of the entry that the axis is named after
```
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.plan_file import plan_of, read_content
from ecgcmr.experiments.plan_reading import with_entries
from ecgcmr.text import printable

MOST_CELLS = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+]*")
CELL_NAME = re.compile(rf"{_NAME.pattern}(?:-{_NAME.pattern})*")
_LONGEST = 40
_SEED = re.compile(r"(?:.*[._])?(?:finetune_)?seeds?")


@dataclass(frozen=True)
class Cell:
    """One experiment of a matrix.

    Attributes:
        name: Of its folder below ``cells``: its choices, joined.
        choices: Axis -> name of the choice.
        plan: What is run.
    """

    name: str
    choices: dict[str, str]
    plan: Plan


def is_seed(axis: str) -> bool:
    """Return whether the choices of an axis are repetitions, over which a table gives mean and spread."""
    return _SEED.fullmatch(axis) is not None


def read_matrix(
    path: Path, *, root: Path | None = None, data: Path | None = None, overrides: Sequence[str] = ()
) -> list[Cell]:
    """Return the experiments of a file that holds a matrix, none if it holds none; arguments as of ``load_plan``.

    Raises:
        UserError: The matrix, or one of its experiments, says something that is not understood.
    """
    path, content = read_content(path, overrides)
    axes = content.pop("matrix", None)
    if axes is None:
        return []
    choices = _checked(axes, f"{path.name}: matrix")
    count = 1
    for options in choices.values():
        count *= len(options)
    if count > MOST_CELLS:
        raise UserError(f"{path.name}: matrix has {count:,} cells; at most {MOST_CELLS:,} are run as one")
    return list(_cells(path, content, choices, root, data))


def _cells(
    path: Path,
    content: Mapping[str, Any],
    choices: Mapping[str, Mapping[str, Mapping[str, Any]]],
    root: Path | None,
    data: Path | None,
) -> Iterator[Cell]:
    for names in itertools.product(*choices.values()):
        chosen = dict(zip(choices, names, strict=True))
        name = "-".join(names)
        where = f"{path.name}: matrix cell {name}"
        entries: dict[str, Any] = {}
        for axis, choice in chosen.items():
            for entry, value in choices[axis][choice].items():
                if entry in entries:
                    raise UserError(f"{where}: {printable(entry, 80)} is changed by two axes")
                entries[entry] = value
        yield Cell(
            name, chosen, plan_of(path, with_entries(content, entries, where), root=root, data=data, where=where)
        )


def _checked(axes: Any, where: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return axis -> choice -> entries that it changes."""
    if not isinstance(axes, dict) or not axes:
        raise UserError(f"{where}: expected a mapping of axes, such as seed: [0, 1]")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for axis, options in axes.items():
        here = f"{where}.{printable(axis, 60)}"
        if isinstance(options, list):
            named = [(_value_name(str(axis), value, here), {str(axis): value}) for value in options]
            options = dict(named)
            if len({str(value) for value in axes[axis]}) < len(named):
                raise UserError(f"{here}: holds a value twice; a choice is run once")
        if not isinstance(options, dict) or not options:
            raise UserError(f"{here}: expected a list of values, or choices with the entries that each changes")
        for choice, entries in options.items():
            if not isinstance(choice, str) or not _NAME.fullmatch(choice) or len(choice) > _LONGEST:
                raise UserError(
                    f"{here}: '{printable(choice, 60)}' becomes a part of a folder's name: letters, digits, _ . + "
                    f"alone, at most {_LONGEST}; give it a name with the entries that it changes"
                )
            if not isinstance(entries, dict | None):
                raise UserError(f"{here}.{choice}: expected entries that it changes, found {type(entries).__name__}")
        found[str(axis)] = {choice: dict(entries or {}) for choice, entries in options.items()}
    names = [choice for options in found.values() for choice in options]
    several = {name for name in names if names.count(name) > 1}
    if several:
        raise UserError(f"{where}: {', '.join(sorted(several))} is a choice of two axes; name them apart")
    return found


def _value_name(axis: str, value: Any, where: str) -> str:
    """Name a value of an axis that is a list, such as seed1 or labels10."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise UserError(f"{where}: a list holds numbers or words; write other values as choices with a name each")
    text = str(value)
    return text if isinstance(value, str) else f"{axis.rpartition('.')[2]}{text}"
