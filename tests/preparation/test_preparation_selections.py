"""Selections: nested, stable, balanced, whole subjects."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecgcmr.preparation.selections import build_selections
from ecgcmr.preparation.splits import assign_split, subject_hash
from ecgcmr.shards.layout import Label

KEY = bytes(range(32))
LABELS = (
    Label("lv_ef", "phenotype", "%", "LV", ""),
    Label("af_ever", "disease", "", "disease", ""),
    Label("dm_incident", "disease", "", "disease", ""),
    Label("dm_years", "time", "years", "disease", ""),
    Label("MI", "finding", "", "superclass", ""),
)
AF, DM = 1, 2


def cohort(subjects=2000, rows_each=1, seed=0):
    generator = np.random.default_rng(seed)
    hashes = np.repeat([subject_hash(str(i), KEY) for i in range(subjects)], rows_each)
    labels = np.zeros((len(hashes), len(LABELS)), dtype=np.float32)
    labels[:, AF] = np.repeat(generator.random(subjects) < 0.1, rows_each)
    labels[:, DM] = np.repeat(generator.random(subjects) < 0.05, rows_each)
    labels[np.repeat(generator.random(subjects) < 0.1, rows_each), DM] = np.nan
    return hashes.tolist(), [assign_split(hashed) for hashed in hashes], labels


def select(subject, split, labels, seed=0):
    return {name: set(entry["rows"]) for name, entry in build_selections(subject, split, labels, LABELS, seed).items()}


def test_a_tenth_and_a_hundredth_of_the_training_subjects_nested():
    subject, split, labels = cohort()
    chosen = select(subject, split, labels)
    train = {row for row, name in enumerate(split) if name == "train"}
    assert len(chosen["train_10pct"]) == round(len(train) / 10)
    assert len(chosen["train_1pct"]) == round(len(train) / 100)
    assert chosen["train_1pct"] < chosen["train_10pct"] < train


def test_only_diseases_are_balanced():
    stems = ("af_ever_balanced", "dm_incident_balanced")
    expected = {f"{stem}{suffix}" for stem in stems for suffix in ("", "_10pct", "_1pct")}
    assert set(select(*cohort(6000))) == expected | {"train_10pct", "train_1pct"}


@pytest.mark.parametrize(("name", "column"), [("af_ever", AF), ("dm_incident", DM)])
def test_balanced_sets_hold_all_positives_and_as_many_negatives(name, column):
    subject, split, labels = cohort()
    chosen = select(subject, split, labels)
    values = labels[:, column]
    for suffix, pool in (("", {row for row, s in enumerate(split) if s == "train"}), ("_10pct", chosen["train_10pct"])):
        rows = chosen[f"{name}_balanced{suffix}"]
        positive = {row for row in pool if values[row] == 1}
        assert {row for row in rows if values[row] == 1} == positive
        assert rows <= pool
        assert len(rows) == 2 * len(positive)
        assert not np.isnan(values[sorted(rows)]).any()
    assert chosen[f"{name}_balanced_10pct"] <= chosen[f"{name}_balanced"]


def test_subjects_that_come_or_go_move_only_the_margin():
    subject, split, labels = cohort()
    before = select(subject, split, labels)
    kept = [row for row in range(len(subject)) if row % 50]
    after = select([subject[row] for row in kept], [split[row] for row in kept], labels[kept])
    for name, least in (("train_10pct", 0.95), ("af_ever_balanced", 0.9)):
        remained = {subject[row] for row in before[name]} & {subject[row] for row in kept}
        now = {subject[kept[row]] for row in after[name]}
        assert len(now & remained) / len(remained) > least
    order = np.random.default_rng(1).permutation(len(subject))
    shuffled = select([subject[row] for row in order], [split[row] for row in order], labels[order])
    for name, rows in before.items():
        assert {subject[order[row]] for row in shuffled[name]} == {subject[row] for row in rows}, name


def test_another_seed_chooses_others():
    one, other = (select(*cohort(), seed=seed)["train_10pct"] for seed in (0, 1))
    assert len(one & other) < 0.3 * len(one)


def test_all_rows_of_a_subject_stay_together():
    subject, split, labels = cohort(300, rows_each=3)
    for name, rows in select(subject, split, labels).items():
        assert all({row - row % 3, row - row % 3 + 1, row - row % 3 + 2} <= rows for row in rows), name


def test_a_subject_with_a_positive_row_is_no_source_of_negatives():
    subject = ["a" * 32, "a" * 32, "b" * 32, "b" * 32]
    labels = np.full((4, len(LABELS)), np.nan, dtype=np.float32)
    labels[:, AF] = [1, 0, 0, 0]
    rows = build_selections(subject, ["train"] * 4, labels, LABELS)["af_ever_balanced"]["rows"]
    assert rows == [0, 2, 3]


def test_small_cohorts_have_at_least_one_subject_and_no_empty_selection():
    subject, _, labels = cohort(8)
    labels[:, AF] = 0
    labels[:, DM] = 1
    selections = build_selections(subject, ["train"] * 8, labels, LABELS)
    assert set(selections) == {"train_10pct", "train_1pct"}
    assert selections["train_10pct"]["rows"] == selections["train_1pct"]["rows"]
    assert len(selections["train_1pct"]["rows"]) == 1
    assert build_selections(subject, ["test"] * 8, labels, LABELS) == {}


def test_selections_can_be_written_as_json_and_say_what_they_are():
    selections = build_selections(*cohort(400), LABELS, seed=3)
    assert json.loads(json.dumps(selections)) == selections
    assert selections["af_ever_balanced_10pct"]["about"] == (
        "of the rows of one in ten training subjects all with af_ever and as many without; chosen by rank, seed 3"
    )
    assert all(entry["rows"] == sorted(entry["rows"]) for entry in selections.values())
