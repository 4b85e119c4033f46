"""Notes where a table misleads: one line for each kind of finding, and none where there is nothing to find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecgcmr.evaluation.arrangement import Arrangement, arrange
from ecgcmr.evaluation.assessment import assess
from ecgcmr.evaluation.differences import pairs_of
from ecgcmr.evaluation.prediction_table import checked_table
from ecgcmr.evaluation.rows import Settings

TARGETS = ("lv_edv", "lv_ef", "rv_edv")
N = 150
TRUTH = np.random.default_rng(0).normal(size=(N, len(TARGETS)))
STARTS = (
    "Below its own linear probe",
    "Below the probe on labels alone",
    "Networks below",
    "Predicted by no",
    "Worse with ten",
)


def lines(method: str, protocol: str | None, labels: int, noise: float, seed: int = 1, lost: int = 0) -> pd.DataFrame:
    """Return predictions whose R2 falls with the noise; the last ``lost`` targets are not predicted at all."""
    draw = np.random.default_rng(seed)
    values = TRUTH - noise * draw.normal(size=TRUTH.shape)
    values[:, len(TARGETS) - lost :] = 0.05 * draw.normal(size=(N, lost))
    subjects = [f"{i:032x}" for i in range(N)]
    parts = [
        pd.DataFrame({"subject": subjects, "target": target, "truth": TRUTH[:, k], "prediction": values[:, k]})
        for k, target in enumerate(TARGETS)
    ]
    about: dict[str, Any] = {"method": method, "protocol": protocol, "labels": labels, "split": "test", "seed": 0}
    return pd.concat(parts).assign(**about)


def arranged(parts: list[pd.DataFrame]) -> Arrangement:
    return arrange(checked_table(pd.concat(parts), "t"), "t")


def notes(*parts: pd.DataFrame, focus: str | None = None) -> list[str]:
    found = assess(arranged(list(parts)), Settings(resamples=80, focus=focus)).notes
    return [note for note in found if note.startswith(STARTS)]


def test_a_sound_table_has_no_such_note() -> None:
    probe = [lines("mae", "linear_probe", labels, noise) for labels, noise in ((28, 0.5), (280, 0.4))]
    assert notes(*probe, lines("mae", "finetune", 28, 0.3), lines("age+sex", None, 28, 0.8)) == []


def test_a_network_that_stayed_at_its_probe_is_not_below_it() -> None:
    probe = lines("mae", "linear_probe", 28, 0.3)
    rounded = probe.assign(protocol="finetune", prediction=probe["prediction"] * (1 + 1e-6))
    further = probe.assign(protocol="finetune", prediction=probe["prediction"] * 1.2)
    assert notes(probe, rounded) == []
    assert len(notes(probe, further)) == 1


def test_fine_tuning_below_its_probe_is_one_note_where_it_is_certain_and_one_where_it_is_not() -> None:
    own = [lines("mae", "linear_probe", 28, 0.3), lines("mae", "finetune", 28, 0.6, seed=2)]
    near = [lines("byol", "linear_probe", 28, 0.3), lines("byol", "finetune", 28, 0.302, seed=3)]
    more = [lines("mae", "linear_probe", 90, 0.2), lines("mae", "finetune", 90, 0.7, seed=2)]
    certain, uncertain = notes(*own, *near, *more, focus="byol")
    assert certain.startswith("Below its own linear probe by more than its paired interval: ")
    assert certain.count("mae, fine-tuned") == 2
    assert "28 labels (-0." in certain
    assert "90 labels (-0." in certain
    assert "byol" not in certain
    assert uncertain.startswith("Below its own linear probe, though the paired interval holds 0: byol, fine-tuned, 28")


def test_a_pupil_is_compared_with_the_probe_that_it_started_at_and_its_teacher_with_labels_alone() -> None:
    plain, taught = lines("mae", "linear_probe", 28, 0.3), lines("mae", "taught_probe", 28, 0.7, seed=2)
    assert notes(plain, lines("mae", "taught_probe", 28, 0.2, seed=2), lines("mae", "taught", 28, 0.1, seed=3)) == []
    (note,) = notes(plain, taught, lines("mae", "taught", 28, 0.6, seed=3))
    assert note.startswith("Below the probe on labels alone by more than its paired interval: mae, linear probe taught")
    assert note.endswith("the teacher misleads.")
    lost, _ = notes(plain, taught, lines("mae", "taught", 28, 1.1, seed=3))
    assert lost.startswith("Below its own linear probe by more than its paired interval: mae, fine-tuned, taught")
    (alone,) = notes(plain, lines("mae", "taught", 28, 1.1, seed=3))  # no probe was taught: that on labels alone
    assert alone.startswith("Below its own linear probe by more than its paired interval: mae, fine-tuned, taught")


def test_methods_of_unlike_seeds_are_compared_on_those_that_both_have() -> None:
    others = [lines("mae", "linear_probe", 28, 0.1, seed=5 + k).assign(seed=k) for k in (1, 2)]
    own = [lines("mae", "linear_probe", 28, 0.6, seed=4), lines("mae", "finetune", 28, 0.5, seed=2)]
    assert notes(*own, *others) == []  # better than the probe of its own labels, below the mean over all draws
    rows = assess(arranged([*own, *others]), Settings(resamples=80)).differences
    (mean,) = [row for row in rows if row.target == "mean" and row.group == "all"]
    alone = assess(arranged(own), Settings(resamples=80)).differences
    assert mean == next(row for row in alone if row.target == "mean" and row.group == "all")
    assert mean.value > 0
    apart = [part.assign(seed=part.seed + 7) if k == 0 else part for k, part in enumerate([own[1], own[0], *others])]
    (mean,) = [
        row
        for row in assess(arranged(apart), Settings(resamples=80)).differences
        if row.target == "mean" and row.group == "all"
    ]
    assert mean.value < 0  # no seed in common: the means of each


def test_a_network_below_age_and_sex_is_noted_and_a_random_one_is_not() -> None:
    parts = [lines("age+sex", None, 28, 0.3), lines("features", None, 28, 0.9)]
    parts += [lines(method, "linear_probe", 28, 0.8, seed=4) for method in ("mae", "random")]
    (note,) = notes(*parts)
    assert note.startswith("Networks below age+sex by more than their paired interval: mae, linear probe, 28 labels (-")
    assert "random" not in note
    assert "features" not in note


@pytest.mark.parametrize("protocol", ["linear_probe", "layer_probe", "attention_probe", "taught_probe", "finetune"])
def test_a_network_below_age_and_sex_is_noted_under_every_protocol(protocol: str) -> None:
    (note,) = notes(lines("age+sex", None, 28, 0.3), lines("mae", protocol, 28, 0.8, seed=4))
    assert note.startswith("Networks below age+sex by more than their paired interval: mae, ")


def test_a_target_that_the_best_method_predicts_no_better_than_chance_is_named() -> None:
    (note,) = notes(lines("a", None, 28, 0.3, lost=1), lines("b", None, 28, 0.4, seed=5, lost=1))
    assert note.startswith("Predicted by no method (every interval includes chance): rv_edv; ")
    assert notes(lines("a", None, 28, 0.3, lost=1), lines("b", None, 28, 0.4, seed=5)) == []


def test_a_target_that_one_method_predicts_is_predicted_though_the_highest_score_may_be_chance() -> None:
    steady, wild = lines("steady", None, 28, 0.6), lines("wild", None, 28, 0.05)
    wild.loc[(wild.target == "rv_edv") & (wild.subject == f"{7:032x}"), "prediction"] += 2.0 * N**0.5
    found = assess(arranged([steady, wild]), Settings(resamples=80))
    low = {row.method: row.ci_low for row in found.scores if (row.target, row.metric) == ("rv_edv", "r2")}
    assert low["wild"] < 0 < low["steady"]
    assert notes(steady, wild) == []


def test_a_method_that_reads_worse_with_ten_times_the_labels_is_named_with_its_budget() -> None:
    (note,) = notes(lines("cnn", "finetune", 28, 0.3), lines("cnn", "finetune", 280, 0.8, seed=2))
    assert note.startswith("Worse with ten times the labels, beyond the interval: cnn, fine-tuned (0.")
    assert note.endswith("the training budget is the first suspect.")


def test_many_findings_are_still_one_line_each() -> None:
    parts = [lines("age+sex", None, labels, 0.1) for labels in (28, 280)]
    for k in range(9):
        parts += [lines(f"m{k}", "linear_probe", 28, 0.3, seed=k), lines(f"m{k}", "linear_probe", 280, 0.9, seed=k)]
        parts.append(lines(f"m{k}", "finetune", 280, 1.2, seed=k))
    found = notes(*parts, focus="m0")
    assert len(found) == 3
    assert "and 3 more" in found[0]


@pytest.mark.parametrize(("focus", "count"), [(None, 6), ("mae", 4), ("byol", 5)])
def test_pairs_that_were_asked_for_are_given_once(focus: str | None, count: int) -> None:
    variants = arranged([lines(name, None, 28, 0.4) for name in ("mae", "byol", "features", "zz")]).variants
    compared = (("zz", "mae"), ("features", "zz"))
    found = [(one.method, two.method) for one, two in pairs_of(variants, Settings(focus=focus, compared=compared))]
    assert set(compared) <= set(found)
    assert len({frozenset(pair) for pair in found}) == len(found) == count


def test_pairs_that_were_asked_for_are_corrected_among_themselves() -> None:
    data = arranged([lines(name, None, 28, 0.4, seed=k) for k, name in enumerate(("mae", "byol", "features", "zz"))])
    settings = Settings(resamples=80, focus="byol", compared=(("zz", "mae"), ("zz", "features")))
    means = [row for row in assess(data, settings).differences if row.target == "mean"]
    family = {(row.method, row.reference): row.family for row in means}
    assert family["zz", "mae"] == family["zz", "features"] == 2
    assert family["byol", "mae"] == family["byol", "zz"] == 3
