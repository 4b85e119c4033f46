"""The rows that an assessment is made of, the targets they are about, and the settings they were made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ecgcmr.metrics.decisions import CalibrationBin

MEAN = "mean"


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        name: Column name, such as ``lv_edv``.
        group: Such as "LV", "disease" or "superclass".
        unit: For figures; "" if it has none.
        title: For tables and figures; "" takes the name.
    """

    name: str
    group: str
    unit: str = ""
    title: str = ""


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
        against: (task, number of labels, method) of fine-tuned methods that all others are compared with, and no other
            pairs; empty: as ``focus`` says.
        compared: Further pairs, (method, reference): such as a stack and its parts.
    """

    split: str = "test"
    resamples: int = 4000
    seed: int = 0
    level: float = 0.95
    smallest_group: int = 20
    horizon: float | None = None
    focus: str | None = None
    compared: tuple[tuple[str, str], ...] = ()
    against: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True)
class ResultRow:
    """One number of results.json; NaN is an undefined metric or interval and is written as null.

    Attributes:
        target: Name of the target, or "mean" for a mean over targets.
        group: The target's group; for a mean the name of the set it runs over, never the name of a target's group.
        task: Kind of the task: "regression", "classification" or "time_to_event".
        method: One of ``METHODS``, or another.
        protocol: "linear_probe", "layer_probe", "attention_probe", "finetune", "taught_probe",
            "taught", "stack", or None.
        labels: Labelled training recordings; None for the oracle.
        metric: Key of the metric.
        value: The metric on the test rows.
        ci_low: Lower bound of the 95 % interval.
        ci_high: Upper bound.
        n_test: Test subjects with an observed truth and a prediction (of a mean: of any of its targets).
        task_name: Name of the task; that of its kind where it has none.
        ended: How training ended where that is to be marked, one of ``ENDS``: the worst of the models concerned.
    """

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
    n_test: int
    task_name: str
    ended: str = field(default="", kw_only=True)


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
class SubgroupRow(ResultRow):
    """One metric in one subgroup; ``n_test`` is None and the value NaN where the subgroup is suppressed.

    Attributes:
        attribute: What subgroups are by, such as "sex".
        subgroup: Which.
        reason: Why the value is undefined; "" otherwise.
    """

    n_test: int | None  # type: ignore[assignment]
    attribute: str
    subgroup: str
    reason: str


@dataclass(frozen=True)
class DifferenceRow(ResultRow):
    """``method`` less ``reference`` on the subjects that both predicted.

    Attributes:
        reference: The other method, at equally many labels.
        reference_protocol: Its protocol.
        p: Two-sided bootstrap p value.
        p_holm: The same after Holm's correction over ``family`` comparisons.
        family: Number of comparisons corrected for together: the targets of a task for one pair of methods, or the
            pairs of methods for one mean; those of a method in ``Settings.compared`` by themselves.
    """

    reference: str
    reference_protocol: str | None
    p: float
    p_holm: float
    family: int


@dataclass(frozen=True)
class CalibrationRow:
    """A calibration curve of one target and variant, from the predictions of the first seed."""

    target: str
    method: str
    protocol: str | None
    labels: int | None
    bins: tuple[CalibrationBin, ...]


def mean_sets(targets: Sequence[Target]) -> dict[str, list[int]]:
    """Name the sets of targets that means run over: "all", "LV+RV", and "<group> mean" for each group.

    A set is made only where it differs from the others: "LV+RV" if both ventricles are there beside other groups or
    alone, a group's mean if it has two targets and is not everything.

    Returns:
        Name -> columns.
    """
    groups: dict[str, list[int]] = {}
    for column, target in enumerate(targets):
        groups.setdefault(target.group, []).append(column)
    sets: dict[str, list[int]] = {}
    if len(targets) > 1:
        sets["all"] = list(range(len(targets)))
    if "LV" in groups and "RV" in groups:
        sets["LV+RV"] = sorted(groups["LV"] + groups["RV"])
    if len(groups) > 1:
        sets |= {f"{name} mean": columns for name, columns in groups.items() if len(columns) > 1}
    return sets
