"""The rows that an assessment is made of, and the settings they were made with."""

from __future__ import annotations

from dataclasses import dataclass

from ecgcmr.evaluation.results import ResultRow
from ecgcmr.metrics.decisions import CalibrationBin


@dataclass(frozen=True)
class Settings:
    """How to score.

    Attributes:
        split: The split that is scored.
        resamples: Bootstrap resamples of subjects.
        seed: Seed of the resamples.
        level: Coverage of intervals.
        smallest_group: A subgroup of fewer subjects is suppressed.
        horizon: Of the time-dependent AUROC; None takes the median time of the test events.
        focus: Method to compare with every other; None compares all pairs.
    """

    split: str = "test"
    resamples: int = 4000
    seed: int = 0
    level: float = 0.95
    smallest_group: int = 20
    horizon: float | None = None
    focus: str | None = None


@dataclass(frozen=True)
class ScoreRow(ResultRow):
    """A result row with what several seeds add, and the reason where a metric is undefined.

    Attributes:
        n_seeds: Seeds that the value is the mean of.
        seed_sd: Standard deviation over them; NaN for one.
        reason: Why the value is undefined; "" otherwise.
    """

    n_seeds: int
    seed_sd: float
    reason: str


@dataclass(frozen=True)
class SubgroupRow:
    """One metric in one subgroup; ``n_test`` is None and the value NaN where the subgroup is suppressed."""

    attribute: str
    subgroup: str
    target: str
    group: str
    task: str
    method: str
    protocol: str | None
    labels: int | None
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_test: int | None
    reason: str


@dataclass(frozen=True)
class ComparisonRow:
    """``method`` less ``reference`` on the subjects that both predicted.

    Attributes:
        p: Two-sided bootstrap p value.
        p_holm: The same after Holm's correction over ``family`` comparisons.
        family: Number of comparisons corrected for together: the targets of a kind for one pair of methods, or the
            pairs of methods for one mean.
    """

    target: str
    group: str
    task: str
    method: str
    protocol: str | None
    reference: str
    reference_protocol: str | None
    labels: int | None
    metric: str
    value: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    family: int
    n_test: int


@dataclass(frozen=True)
class CalibrationRow:
    """A calibration curve of one target and variant, from the predictions of the first seed."""

    target: str
    method: str
    protocol: str | None
    labels: int | None
    bins: tuple[CalibrationBin, ...]
