"""Cleaning recordings by a chain of steps, chosen by name or written down in a YAML file.

The published recipe is one such chain and the default; others filter by frequency. A chain tells what it consists of
(``to_dict``), so that shards carry their own recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.preparation.cleaning_steps import ALS, STEPS, Bandpass, Clip, Fill, Neurokit, Notch, Operation, Step, ZScore
from ecgcmr.shards.layout import LEADS
from ecgcmr.yaml_file import read_yaml

PRESETS: dict[str, tuple[Step, ...]] = {
    "published": (Fill(), Clip(), ALS(), ZScore()),
    "neurokit": (Fill(), Neurokit(), ZScore()),
    "bandpass": (Fill(), Bandpass(), Notch(), ZScore()),
    "none": (Fill(),),
}
"""``published``: Turgut et al., arXiv 2308.05764. ``neurokit``: neurokit2's cleaning of each lead, then the published
z-score. ``bandpass``: 0.5-40 Hz without phase and without 50 Hz, then the published z-score. ``none``: mV as it is."""

CUSTOM = "custom"
_LARGEST_FILE = 2**20  # bytes


class Cleaning:
    """A chain of steps that turns recordings in mV into what models see. Do not call one object from two threads."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Keep the steps; where they do not begin with ``fill``, missing samples become 0 first."""
        given = tuple(steps)
        self.steps: tuple[Step, ...] = given if given and isinstance(given[0], Fill) else (Fill(), *given)
        self._operations: list[Operation] = [step.build() for step in self.steps]
        self._memory = np.empty((2, len(LEADS), 0))

    @property
    def unit(self) -> str:
        """``z-score`` if the chain normalises, else ``mV``."""
        return "z-score" if any(isinstance(step, ZScore) for step in self.steps) else "mV"

    @property
    def name(self) -> str:
        """The preset that consists of these steps, or ``custom``."""
        return next((name for name, steps in PRESETS.items() if steps == self.steps), CUSTOM)

    def __call__(self, signal: npt.ArrayLike, sampling_rate: float = 500.0) -> npt.NDArray[np.float32]:
        """Clean one recording.

        Args:
            signal: (12, T) mV in the order of ``LEADS``, NaN where nothing was recorded.
            sampling_rate: Hz.

        Returns:
            (12, T) float32 in ``unit``, finite.

        Raises:
            ValueError: The shape is not (12, T), or a value is infinite.
        """
        source = np.asarray(signal)
        if source.ndim != 2 or source.shape[0] != len(LEADS):
            raise ValueError(f"expected ({len(LEADS)}, T), got {source.shape}")
        if self._memory.shape[2] != source.shape[1]:
            self._memory = np.empty((2, *source.shape))
        values, scratch = self._memory
        values[:] = source
        for operation in self._operations:
            operation(values, scratch, sampling_rate)
        return values.astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return the steps and all parameters: JSON-able, and equal for equal cleanings whatever their source."""
        return {"steps": [{step.NAME: asdict(step)} for step in self.steps]}  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, content: Any) -> Cleaning:
        """Rebuild a cleaning from ``{"steps": [{name: parameters}, ...]}``; what is left out has its default value.

        Raises:
            UserError: Something in it is unknown or out of range; the message names the choices.
        """
        if not isinstance(content, dict) or set(content) != {"steps"} or not isinstance(content["steps"], list):
            raise UserError("a cleaning has one key, steps, that holds a list such as [{clip: {deviations: 4}}]")
        if not content["steps"]:
            raise UserError("a cleaning needs at least one step, such as {fill: {method: zero}}")
        return cls([_read_step(number, item) for number, item in enumerate(content["steps"], start=1)])

    @classmethod
    def from_name(cls, name: str | Path) -> Cleaning:
        """Return a preset by its name, or the cleaning that a YAML file describes.

        Raises:
            UserError: It is neither, or the file is not a cleaning.
        """
        if str(name) in PRESETS:
            return cls(PRESETS[str(name)])
        path = Path(name)
        if not path.exists():
            raise UserError(f"cleaning {str(name)!r}: choose one of {', '.join(PRESETS)}, or name a YAML file of steps")
        content = read_yaml(path, what="cleaning", most=_LARGEST_FILE, shown=path.name)
        try:
            return cls.from_dict(content)
        except UserError as error:
            raise UserError(f"{path.name}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cleaning) and self.steps == other.steps

    def __hash__(self) -> int:
        return hash(self.steps)

    def __repr__(self) -> str:
        return f"Cleaning({list(self.steps)!r})"

    def __reduce__(self) -> tuple[type[Cleaning], tuple[tuple[Step, ...]]]:
        return Cleaning, (self.steps,)


def clean_ecg(signal: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Clean one 12-lead recording by the published recipe (Turgut et al., arXiv 2308.05764); see ``Cleaning``.

    NaN becomes 0; the recording is clipped to plus and minus four times its standard deviation over all leads (about
    zero, not about the mean); each lead's asymmetric-least-squares baseline is subtracted; leads are z-scored over
    lead and time within the groups I-III, aVR-aVF and V1-V6. A group that is flat throughout becomes 0.

    Args:
        signal: (12, T) in any unit of voltage. The result does not depend on the unit, save where a whole group is
            flatter than 1e-6 units (the floor of 1e-12 under its variance).
    """
    return Cleaning.from_name("published")(signal)


def _read_step(number: int, item: Any) -> Step:
    """Make a step from its name, or from one key that holds its parameters."""
    if isinstance(item, str):
        item = {item: None}
    if not isinstance(item, dict) or len(item) != 1:
        raise UserError(f"step {number} must be one name with its parameters, such as {{clip: {{deviations: 4}}}}")
    ((name, parameters),) = item.items()
    if name not in STEPS:
        raise UserError(f"step {number}, {name!r:.40}, is unknown: choose one of {', '.join(STEPS)}")
    kind = STEPS[name]
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise UserError(f"step {number}, {name}: parameters are given as {{name: value}}")
    defaults = {entry.name: entry.default for entry in fields(kind)}
    unknown = [str(key) for key in parameters if key not in defaults]
    if unknown:
        raise UserError(
            f"step {number}, {name}: parameter {unknown[0]!r} is unknown: choose from {', '.join(defaults)}"
        )
    try:
        return kind(**{key: _convert(key, value, type(defaults[key])) for key, value in parameters.items()})
    except ValueError as error:
        raise UserError(f"step {number}, {name}: {error}") from error


def _convert(name: str, value: Any, wanted: type) -> Any:
    """Turn a value from YAML into the type of a parameter; YAML reads 1e7, without a point, as a word."""
    if wanted is str:
        if isinstance(value, str):
            return value
        raise ValueError(f"{name} must be a word, not {value!r:.40}")
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (wanted is int and number != int(number)):
        raise ValueError(f"{name} must be a{' whole' if wanted is int else ''} number, not {value!r:.40}")
    return wanted(number)
