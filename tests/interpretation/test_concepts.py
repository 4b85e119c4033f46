"""Concept directions where it is known which direction is which, and on rows that nobody was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from aligned_context import planted_context
from planted_cohort import LABELS, write_planted

from ecgcmr.errors import UserError
from ecgcmr.interpretation.concepts import Directions, add_control, correlation, learn_directions
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.probe_rows import ProbeRows, probe_rows, untrained_rows

BY_NAME = {label.name: label for label in LABELS}
NAMES = ("lv_edv", "lv_ef", "af_ever", "age", "sex")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> AnalysisContext:
    return planted_context(write_planted(tmp_path_factory.mktemp("planted")))


@pytest.fixture(scope="module")
def probed(context: AnalysisContext) -> ProbeRows:
    return probe_rows(context)


@pytest.fixture(scope="module")
def learnt(context: AnalysisContext, probed: ProbeRows) -> Directions:
    return learn_directions(context, probed, [BY_NAME[name] for name in NAMES], resamples=100)


def test_each_planted_direction_is_found_and_scored_in_its_unit(learnt: Directions):
    volume, fraction, disease, age, sex = learnt.entries
    assert abs(learnt.vectors[0, 0]) > 0.95  # the volume is in lead I, the fraction and the disease in V1
    assert abs(learnt.vectors[1, 1]) > 0.95
    assert learnt.vectors[1, 2] > 0.9
    assert np.allclose(np.linalg.norm(learnt.vectors, axis=0), 1.0)
    assert volume["unit"] == "mL"
    assert volume["score"] > 0.6
    assert fraction["score"] > 0.9
    assert disease["metric"] == "auroc"
    assert disease["score"] > 0.75
    assert age["score_ci_low"] < 0.05
    assert sex["score_ci_low"] < 0.55  # in no lead
    for entry in learnt.entries:
        assert entry["score_ci_low"] <= entry["score"] <= entry["score_ci_high"]
        assert entry["validation"] is not None
        assert entry["note"] is None
    known = np.isfinite(learnt.truth[:, 0])
    assert np.mean(learnt.coordinates[:, 0] - learnt.truth[:, 0], where=known) == pytest.approx(0, abs=5)


def test_an_untrained_encoder_stands_beside_with_the_paired_difference(
    context: AnalysisContext, probed: ProbeRows, learnt: Directions
):
    control = learn_directions(context, untrained_rows(context, probed), learnt.labels, resamples=100)
    add_control(learnt, control)
    for k, entry in enumerate(learnt.entries[:3]):
        assert entry["untrained"] == pytest.approx(control.entries[k]["score"])
        assert entry["above_untrained"] == pytest.approx(entry["score"] - entry["untrained"])
        assert 0 < entry["above_untrained_ci_low"] < entry["above_untrained"] < entry["above_untrained_ci_high"]


def test_chosen_subjects_are_never_trained_on_whichever_split_they_are_of(context: AnalysisContext):
    trained = context.index.positions("train", need=("ecg",))
    looked_at = replace(context, rows=trained[:200])
    rows = probe_rows(looked_at, most_training=50, most_validation=30).rows
    assert len(rows["train"]) == 50
    assert len(rows["val"]) == 30
    assert not np.isin(rows["train"], trained[:200]).any()
    with pytest.raises(UserError, match="no rows of the train split are left"):
        probe_rows(replace(context, rows=trained))


def test_rows_are_drawn_the_same_whatever_else_was_drawn(context: AnalysisContext, probed: ProbeRows):
    again = probe_rows(context)
    for split, rows in probed.rows.items():
        assert rows.tolist() == again.rows[split].tolist()
        assert np.array_equal(probed.features[split], again.features[split])


def test_a_label_that_cannot_be_learnt_says_why_and_stops_no_other(context: AnalysisContext, probed: ProbeRows):
    healthy = probed.rows["train"][:0]
    some = ProbeRows({**probed.rows, "train": healthy}, {**probed.features, "train": probed.features["train"][:0]})
    learnt = learn_directions(context, some, [BY_NAME["lv_edv"]], resamples=10)
    assert learnt.entries[0]["note"] == "0 training labels"
    assert learnt.entries[0]["score"] is None
    assert np.isnan(learnt.coordinates).all()


def test_a_time_to_an_event_has_no_direction(context: AnalysisContext, probed: ProbeRows):
    with pytest.raises(UserError, match="label cad_years is a time to an event"):
        learn_directions(context, probed, [BY_NAME["cad_years"]], resamples=10)


def test_correlations_are_of_rows_where_both_are_known():
    draw = np.random.default_rng(0)
    columns = draw.normal(size=(50, 3))
    columns[:, 1] += columns[:, 0]
    columns[:10, 1] = np.nan
    columns[:, 2] = 7.0
    found = correlation(columns)
    assert found[0, 1] == found[1, 0] == pytest.approx(np.corrcoef(columns[10:, 0], columns[10:, 1])[0, 1])
    assert np.isnan(found[2]).all()
