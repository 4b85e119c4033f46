"""Linear concept directions: along which direction of the ECG embedding something changes, and how well it is known.

A direction is the line of a ridge regression (a logistic one for yes or no) from the features to a label, fitted on
training rows, its penalty chosen on validation rows, scored on the chosen rows (the test split by default).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.probe_rows import CHOSEN, ProbeRows
from ecgcmr.interpretation.resampled import with_interval
from ecgcmr.metrics.bootstrap import Resampled, Resamples, resample
from ecgcmr.metrics.tasks import Task, task_for
from ecgcmr.probes.linear_probe import LogisticProbe, RidgeProbe, unlearnable
from ecgcmr.probes.score_units import can_judge
from ecgcmr.shards import Label, read_labels

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Directions:
    """Directions of K labels.

    Attributes:
        labels: Of which.
        vectors: (D, K) of length 1 in the features' space; NaN where one could not be learnt.
        coordinates: (n, K) of the chosen rows: what the line says, in the label's unit or as log-odds.
        truth: (n, K) of the chosen rows, NaN missing.
        entries: Scores of each, for ``concepts.json``.
        resampled: Column -> the scores of its task on the chosen rows, and its place among them.
    """

    labels: tuple[Label, ...]
    vectors: Floats
    coordinates: Floats
    truth: Floats
    entries: list[dict[str, Any]] = field(default_factory=list)
    resampled: dict[int, tuple[Resampled, int]] = field(default_factory=dict)


def learn_directions(
    context: AnalysisContext, probed: ProbeRows, labels: Sequence[Label], resamples: int = 1000
) -> Directions:
    """Fit the direction of each label and score it.

    Args:
        context: The cohort.
        probed: Rows and features.
        labels: Numbers, and what is yes or no.
        resamples: Of the subjects, for intervals.

    Returns:
        The directions; the entry of a label that cannot be learnt says why and has no score.

    Raises:
        UserError: A label is a time to an event.
    """
    times = [label.name for label in labels if label.kind == "time"]
    if times:
        raise UserError(f"label {times[0]} is a time to an event, which has no direction; name a number or a disease")
    names = [label.name for label in labels]
    values = {split: read_labels(context.index, names, rows).astype(np.float64) for split, rows in probed.rows.items()}
    count = len(labels)
    result = Directions(
        tuple(labels),
        np.full((probed.features["train"].shape[1], count), np.nan),
        np.full((len(context.rows), count), np.nan),
        values[CHOSEN],
        [{} for _ in labels],
    )
    binary = np.array([_is_binary(np.concatenate([part[:, k] for part in values.values()])) for k in range(count)])
    drawn = {split: Resamples.draw(context.subjects(probed.rows[split]), resamples, context.seed)
             for split in ("val", CHOSEN)}  # fmt: skip
    for task in (task_for("regression"), task_for("classification")):
        _learn(task, probed, values, np.flatnonzero(binary == task.binary), drawn, result)
    return result


def _learn(
    task: Task,
    probed: ProbeRows,
    values: dict[str, Floats],
    columns: NDArray[np.intp],
    drawn: dict[str, Resamples],
    result: Directions,
) -> None:
    """Fill in the columns of one task."""
    reasons = unlearnable(task, values["train"][:, columns])
    for place, k in enumerate(columns):
        label = result.labels[k]
        entry = {"target": label.name, "title": label.title, "unit": label.unit, "metric": task.primary}
        entry |= {f"n_{split}": int(np.isfinite(part[:, k]).sum()) for split, part in values.items()}
        note = reasons.get(place) or (None if can_judge(task, values["val"][:, k]) else "validation cannot judge it")
        nothing = {f"{name}{bound}": None for name in ("validation", "score") for bound in ("", "_ci_low", "_ci_high")}
        result.entries[k].update(entry | nothing | {"penalty": None, "note": note})
    able = np.array([k for k in columns if result.entries[k]["note"] is None], dtype=int)
    if not len(able):
        return
    truth = {split: part[:, able] for split, part in values.items()}
    probe: RidgeProbe | LogisticProbe = LogisticProbe() if task.binary else RidgeProbe()
    x = probed.features
    probe.fit(x["train"], truth["train"], x["val"], truth["val"])
    lines, intercepts = probe.raw_lines()
    lengths = np.linalg.norm(lines, axis=0)
    result.vectors[:, able] = lines / np.where(lengths > 0, lengths, np.nan)
    result.coordinates[:, able] = x[CHOSEN] @ lines + intercepts
    scored = {split: resample(task, truth[split], probe.predict(x[split]), each) for split, each in drawn.items()}
    for place, k in enumerate(able):
        entry = with_interval("validation", scored["val"].entry(task.primary, [place]))
        entry |= with_interval("score", scored[CHOSEN].entry(task.primary, [place]))
        result.resampled[int(k)] = scored[CHOSEN].only(task.primary), place
        result.entries[k].update(entry, penalty=float(probe.chosen[place]), note=probe.notes.get(place))


def add_control(learnt: Directions, control: Directions) -> None:
    """Add to the entries what directions of an untrained encoder reach, and how far above it the trained one lies.

    Args:
        learnt: Whose entries are extended by ``untrained`` and ``above_untrained``, with intervals.
        control: Of the same labels, rows and resamples.
    """
    for k, entry in enumerate(learnt.entries):
        names = [f"{name}{bound}" for name in ("untrained", "above_untrained") for bound in ("", "_ci_low", "_ci_high")]
        entry.update(dict.fromkeys(names))
        if k in learnt.resampled and k in control.resampled:
            (own, place), (other, _), metric = learnt.resampled[k], control.resampled[k], entry["metric"]
            entry.update(with_interval("untrained", other.entry(metric, [place])))
            entry.update(with_interval("above_untrained", (own - other).entry(metric, [place])))


def _is_binary(values: Floats) -> bool:
    """Return whether all known values are 0 or 1, as of a disease, and of the covariate sex."""
    known = values[np.isfinite(values)]
    return bool(len(known)) and bool(np.isin(known, (0.0, 1.0)).all())


def correlation(columns: Floats) -> Floats:
    """Return (K, K) Pearson correlations of (n, K), NaN missing; of a pair over rows where both are known.

    NaN where those are fewer than 3, or one is constant.
    """
    count = columns.shape[1]
    result = np.full((count, count), np.nan)
    for i in range(count):
        for j in range(i, count):
            both = np.isfinite(columns[:, i]) & np.isfinite(columns[:, j])
            x, y = columns[both, i], columns[both, j]
            if len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0:
                result[i, j] = result[j, i] = float(np.corrcoef(x, y)[0, 1])
    return result
