"""What a model gives back: embeddings and predictions as typed objects, as rows of a table, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ecgcmr.inference.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ECGEmbedding:
    """The embedding of one recording, or of one window of it.

    Attributes:
        file: The file's own name; empty of a record or an array.
        recording: Number of the window where the model's recipe takes all of a long recording, else 0.
        embedding: (D,) float32; None if the recording could not be read or prepared.
        verdict: On the recording before cleaning.
        in_distribution: Whether it lies where the training recordings do, and nothing speaks against the recording;
            None where the model cannot say.
        distance: From the training recordings; None where the model has none.
        refused: Why there is no embedding, or why no prediction may rest on it; None if nothing speaks against it.
    """

    file: str
    recording: int
    embedding: NDArray[np.float32] | None = field(repr=False)
    verdict: Verdict = field(repr=False)
    in_distribution: bool | None
    distance: float | None
    refused: str | None

    @property
    def quality(self) -> float:
        """Mean quality index of the leads, 0 to 1; NaN if unknown."""
        return self.verdict.measured.get("signal_quality", math.nan)

    def to_row(self) -> dict[str, Any]:
        """Return a row of the table that ``ecgcmr embed`` writes, and why it was refused."""
        row = {"file": self.file, "recording": self.recording, "embedding": self.embedding, "quality": self.quality}
        return row | {"in_distribution": self.in_distribution, "refused": self.refused}

    def to_frame(self) -> pd.DataFrame:
        """Return a table of one row."""
        return frame([self.to_row()])


@dataclass(frozen=True)
class Phenotype:
    """A predicted number.

    Attributes:
        name: Of the target, such as ``lv_edv``.
        value: In ``unit``.
        unit: Empty where there is none.
        low: Lower end of the prediction interval; None without one.
        high: Upper end.
        level: Probability that the truth lies between them, as asked for; None without an interval.
    """

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    level: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Risk:
    """A yes or no, or an event to come.

    Attributes:
        name: Of the target.
        probability: 0 to 1, calibrated where the model is; None of an event, of which a model without baseline hazard
            gives no probability.
        relative_hazard: Of an event, over that at a log risk of 0; None of a yes or no.
    """

    name: str
    probability: float | None
    relative_hazard: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in JSON; ``relative_hazard`` of events alone."""
        more = {} if self.relative_hazard is None else {"relative_hazard": self.relative_hazard}
        return {"name": self.name, "probability": self.probability, **more}


@dataclass(frozen=True)
class ECGPrediction:
    """What a model says of one recording; of one that it refuses, why.

    Attributes:
        file: The file's own name; empty of a record or an array.
        verdict: On the recording before cleaning.
        in_distribution: See ``ECGEmbedding``.
        refused: Why there is no prediction; None if there is one.
        phenotypes: Predicted numbers, in the model's order; empty if refused.
        risks: Yes or no, and events; empty if refused.
        model: ``name``, ``code_version`` and ``sha256`` of the model.
        distance: From the training recordings; None where the model has none.
        sex: By which intervals and reference ranges were chosen; None if unknown.
    """

    file: str
    verdict: Verdict = field(repr=False)
    in_distribution: bool | None
    refused: str | None
    phenotypes: tuple[Phenotype, ...]
    risks: tuple[Risk, ...]
    model: dict[str, str] = field(repr=False)
    distance: float | None = None
    sex: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what ``ecgcmr infer`` writes: plain values, nothing of NaN."""
        return {
            "file": self.file,
            "quality": self.quality,
            "in_distribution": self.in_distribution,
            "refused": self.refused,
            "phenotypes": [phenotype.to_dict() for phenotype in self.phenotypes],
            "risks": [risk.to_dict() for risk in self.risks],
            "model": self.model,
        }

    @property
    def quality(self) -> dict[str, Any]:
        """What was found of the recording itself: measurements by name, remarks by lead, warnings, distance."""
        judged = self.verdict.to_dict()
        leads = {name: remarks for name, remarks in judged["leads"].items() if remarks}
        return {**judged["measured"], "leads": leads, "warnings": judged["warnings"], "distance": self.distance}

    def to_row(self) -> dict[str, Any]:
        """Return one flat row: ``lv_edv``, ``lv_edv_low``, ``lv_edv_high``, and the probability or relative hazard."""
        row: dict[str, Any] = {
            "file": self.file, "in_distribution": self.in_distribution, "refused": self.refused
        }  # fmt: skip
        row["quality"] = self.verdict.measured.get("signal_quality", math.nan)
        for one in self.phenotypes:
            row |= {one.name: one.value, f"{one.name}_low": one.low, f"{one.name}_high": one.high}
        for risk in self.risks:
            row[risk.name] = risk.probability if risk.relative_hazard is None else risk.relative_hazard
        return row

    def to_frame(self) -> pd.DataFrame:
        """Return a table of one row."""
        return frame([self.to_row()])


class Result(Protocol):
    """What stands in a table as a row."""

    def to_row(self) -> dict[str, Any]:
        """Return column -> value."""
        ...


R = TypeVar("R", bound=Result)


class Results(Sequence[R], Generic[R]):
    """Results in the order of what was asked, as a sequence or as a table."""

    def __init__(self, results: Sequence[R]) -> None:
        """Keep them."""
        self._results = tuple(results)

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, place: int) -> R: ...
    @overload
    def __getitem__(self, place: slice) -> Results[R]: ...
    def __getitem__(self, place: int | slice) -> R | Results[R]:
        return Results(self._results[place]) if isinstance(place, slice) else self._results[place]

    def __iter__(self) -> Iterator[R]:
        return iter(self._results)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each."""
        return frame([result.to_row() for result in self._results])


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a table; embeddings stay arrays in one column."""
    import pandas as pd  # slow to import, and not needed by the command line

    return pd.DataFrame(list(rows))
