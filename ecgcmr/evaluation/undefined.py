"""Why a metric is undefined, in words: a missing result is reported with its reason and never as 0."""

from __future__ import annotations

import numpy as np

from ecgcmr.evaluation.arrangement import Variant
from ecgcmr.evaluation.scoring import Scorer


def reason_of(scorer: Scorer, variant: Variant, column: int, metric: str) -> str:
    """Say why a metric of a target is undefined for a variant.

    Args:
        scorer: Holds truth and predictions.
        variant: The variant.
        column: Of the target.
        metric: Key of the metric.
    """
    truth = truth_reason(scorer, column)
    if truth:
        return truth
    predicted, observed = scorer.predicted(variant)[:, column], scorer.observed[:, column]
    scored = predicted & observed
    if not scored.any():
        return "no prediction"
    kind, test = scorer.data.kinds[column], scorer.data.test
    values = np.stack([own[scored, column] for own in test.predictions[variant].values()])
    if kind == "time_to_event":
        horizon = scorer.horizons[column]
        return f"no event by {horizon:g}, or nobody followed beyond" if metric == "auroc_at_horizon" else "no event"
    if int(scored.sum()) < 2:
        return "1 value predicted"
    if np.ptp(test.truth[scored, column]) == 0:
        return f"truth is {test.truth[scored, column][0]:g} wherever it was predicted"
    if kind == "regression":
        return "constant prediction"
    if values.min() < 0.0 or values.max() > 1.0:
        return "predictions are not probabilities"
    return "undefined"


def truth_reason(scorer: Scorer, column: int) -> str:
    """Say what is wrong with a target's test truth; "" if nothing is."""
    test, kind = scorer.data.test, scorer.data.kinds[column]
    observed = scorer.observed[:, column]
    n, count = len(observed), int(observed.sum())
    if count == 0:
        return f"all {n:,} values missing"
    if kind == "time_to_event":
        return "" if (test.event[observed, column] == 1).any() else f"no event among {count:,} subjects"
    values = test.truth[observed, column]
    if kind == "classification":
        return f"one class only: all {count:,} values are {values[0]:g}" if np.ptp(values) == 0 else ""
    if count < 2:
        return "only 1 value observed"
    return f"constant: all {count:,} values are {values[0]:g}" if np.ptp(values) == 0 else ""
