from __future__ import annotations

import stat
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgcmr.errors import UserError
from ecgcmr.preparation.leaks import find_leaks
from ecgcmr.preparation.splits import assign_split, assign_splits, subject_hash
from ecgcmr.preparation.strata import strata_of
from ecgcmr.preparation.subject_key import default_key_file, load_key
from ecgcmr.shards.layout import SPLITS, Label

KEY = bytes(range(32))
FRACTIONS = (0.7, 0.15, 0.15)
HASHES = [subject_hash(str(i), KEY) for i in range(3000)]


def test_hash_is_keyed_and_never_changes():
    hashed = subject_hash("1000011", KEY)
    assert hashed == "6a093659b489af6374146d5cb66c70e0"
    assert assign_split(hashed) == "test"
    assert hashed == subject_hash("1000011", KEY)
    assert hashed != subject_hash("1000011", KEY[::-1])
    assert hashed != subject_hash("1000012", KEY)
    assert set(hashed) <= set("0123456789abcdef")


@pytest.mark.parametrize("key", [b"short", b"x" * 65])
def test_unfit_keys_are_refused(key):
    with pytest.raises(ValueError, match="key"):
        subject_hash("1", key)


def test_fractions_are_met_and_salts_differ():
    hashes = [subject_hash(str(i), KEY) for i in range(6000)]
    counts = Counter(assign_split(hashed) for hashed in hashes)
    assert counts["train"] / 6000 == pytest.approx(0.7, abs=0.02)
    assert counts["val"] / 6000 == pytest.approx(0.15, abs=0.02)
    salted = [assign_split(hashed, salt="other") for hashed in hashes]
    agreement = sum(a == assign_split(hashed) for a, hashed in zip(salted, hashes, strict=True)) / 6000
    assert agreement == pytest.approx(0.7**2 + 2 * 0.15**2, abs=0.03)


@given(st.text("0123456789abcdef", min_size=32, max_size=32))
def test_split_is_a_function_of_the_hash(hashed):
    assert assign_split(hashed) == assign_split(hashed)
    assert assign_split(hashed, (1.0, 0.0, 0.0)) == "train"
    assert assign_split(hashed, (0.0, 1.0, 0.0)) == "val"
    assert assign_split(hashed, (0.0, 0.0, 1.0)) == "test"


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match="fractions"):
        assign_split("0" * 32, fractions)


def test_default_key_is_made_once_and_private(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    key = load_key()
    assert len(key) == 32
    assert load_key() == key
    assert default_key_file() == tmp_path / "ecgcmr" / "subject.key"
    assert stat.S_IMODE(default_key_file().stat().st_mode) == 0o600
    assert [path.name for path in default_key_file().parent.iterdir()] == ["subject.key"]


def test_another_process_that_was_first_wins(tmp_path, monkeypatch):
    from ecgcmr.preparation.subject_key import create_key

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = default_key_file()
    path.parent.mkdir()
    path.write_bytes(KEY)
    create_key(path)
    assert load_key() == KEY


def test_named_key_must_be_there_and_long_enough(tmp_path):
    with pytest.raises(UserError, match="--key-file"):
        load_key(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"abc")
    with pytest.raises(UserError, match="3 bytes"):
        load_key(tmp_path / "short")


def test_key_that_cannot_be_created_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be created"):
        load_key()


def shares_by_stratum(splits, strata):
    """Yield, for each stratum, how many subjects each split has and how many it should have."""
    for stratum in sorted(set(strata.values())):
        members = [subject for subject in splits if strata[subject] == stratum]
        counts = Counter(splits[subject] for subject in members)
        yield [counts[split] for split in SPLITS], [fraction * len(members) for fraction in FRACTIONS]


def test_without_strata_the_hash_decides():
    splits = assign_splits([*HASHES[:500], *HASHES[:100]], FRACTIONS, earlier={HASHES[0]: "val"})
    assert splits == {hashed: assign_split(hashed, FRACTIONS) for hashed in HASHES[:500]}
    salted = assign_splits(HASHES[:500], FRACTIONS, salt="other")
    assert salted == {hashed: assign_split(hashed, FRACTIONS, "other") for hashed in HASHES[:500]}


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=120), st.integers(0, 2000))
def test_fractions_hold_in_every_stratum_to_within_one_subject(kinds, start):
    strata = {HASHES[start + i]: str(kind) for i, kind in enumerate(kinds)}
    splits = assign_splits(strata, FRACTIONS, strata=strata)
    assert splits.keys() == strata.keys()
    for counts, wanted in shares_by_stratum(splits, strata):
        np.testing.assert_allclose(counts, wanted, atol=1 - 1e-6)


def test_many_small_strata_do_not_round_the_same_way():
    strata = {hashed: str(i // 2) for i, hashed in enumerate(HASHES)}
    counts = Counter(assign_splits(strata, FRACTIONS, strata=strata).values())
    np.testing.assert_allclose([counts[split] / len(HASHES) for split in SPLITS], FRACTIONS, atol=0.002)


def test_earlier_splits_stand_and_new_subjects_restore_the_fractions():
    strata = {hashed: str(i % 3) for i, hashed in enumerate(HASHES)}
    first = assign_splits(HASHES[:1000], FRACTIONS, strata=strata)
    grown = assign_splits(HASHES[:1600], FRACTIONS, strata=strata, earlier=first)
    assert {hashed: grown[hashed] for hashed in HASHES[:1000]} == first
    for counts, wanted in shares_by_stratum(grown, strata):
        np.testing.assert_allclose(counts, wanted, atol=1)
    left = HASHES[200:1600]
    assert assign_splits(left, FRACTIONS, strata=strata, earlier=grown) == {hashed: grown[hashed] for hashed in left}
    with pytest.raises(ValueError, match="no such split: dev"):
        assign_splits(HASHES[:2], FRACTIONS, strata=strata, earlier={HASHES[0]: "dev"})


def test_a_split_that_has_too_many_gets_none():
    earlier = dict.fromkeys(HASHES[:80], "train")
    splits = assign_splits(HASHES[:100], FRACTIONS, strata={}, earlier=earlier)
    assert Counter(splits.values()) == {"train": 80, "val": 10, "test": 10}


def test_a_fresh_start_with_a_few_more_subjects_moves_few():
    strata = {hashed: str(i % 3) for i, hashed in enumerate(HASHES)}
    fewer, more = (assign_splits(HASHES[:n], FRACTIONS, strata=strata) for n in (2000, 2020))
    moved = sum(fewer[hashed] != more[hashed] for hashed in fewer)
    assert 0 <= moved <= 40
    by_hash = sum(fewer[hashed] != assign_split(hashed, FRACTIONS) for hashed in fewer)
    assert by_hash < 0.05 * len(fewer)
    assert fewer == assign_splits(HASHES[:2000][::-1], FRACTIONS, strata=strata)


SCHEMA = [
    Label("af_ever", "disease", "", "disease", ""),
    Label("age", "covariate", "years", "covariate", ""),
]


def test_strata_of_binary_labels_and_quarters():
    ages = np.array([50, 60, 70, 80, np.nan, 50, 60, 70, 80], dtype=np.float32)
    flags = np.array([0, 1, np.nan, 0, 1, 0, 0, 0, 0], dtype=np.float32)
    names = [str(i) for i in range(9)]
    strata = strata_of(names, np.stack([flags, ages], axis=1), SCHEMA, ["af_ever", "age"])
    assert strata["0"] == "af_ever=0 age=quarter 1"
    assert strata["1"] == "af_ever=1 age=quarter 2"
    assert strata["2"] == "af_ever=missing age=quarter 3"
    assert strata["3"] == "af_ever=0 age=quarter 4"
    assert strata["4"] == "af_ever=1 age=missing"
    assert strata_of(names, np.stack([flags, ages], axis=1), SCHEMA, []) == dict.fromkeys(names, "")
    with pytest.raises(UserError, match="did you mean age"):
        strata_of(names, np.stack([flags, ages], axis=1), SCHEMA, ["ages"])


def test_quarters_hold_as_many_and_seldom_shift():
    values = np.random.default_rng(0).normal(140, 30, 4000).astype(np.float32)[:, None]
    schema = [Label("lv_edv", "phenotype", "mL", "LV", "")]
    names = HASHES + [str(i) for i in range(1000)]
    strata = strata_of(names, values, schema, ["lv_edv"])
    assert all(0.2 < count / 4000 < 0.3 for count in Counter(strata.values()).values())
    fewer = strata_of(names[:3950], values[:3950], schema, ["lv_edv"])
    assert fewer == {name: strata[name] for name in names[:3950]}
    one_missing = strata_of(["a", "b"], np.array([[np.nan], [140.0]], dtype=np.float32), schema, ["lv_edv"])
    assert one_missing["a"] == "lv_edv=missing" != one_missing["b"]


def test_copies_across_splits_are_found_and_the_test_split_keeps_its_rows():
    #           0        1       2        3        4       5       6       7
    subjects = ["a", "b", "c", "c", "d", "e", "f", "g"]
    splits = ["train", "test", "train", "train", "val", "train", "train", "val"]
    contents = [("x", ""), ("x", "p"), ("y", "q"), ("y", "q"), ("z", "q"), ("u", ""), ("u", ""), ("v", "p")]
    # x: train and test; q: train and val; u: twice in train; p: test and val
    assert find_leaks(subjects, splits, contents) == [0, 2, 3, 7]
    assert find_leaks(subjects, splits, [("", "")] * 8) == []
    kept = [i for i in range(8) if i not in (0, 2, 3, 7)]
    assert find_leaks(*([column[i] for i in kept] for column in (subjects, splits, contents))) == []


def test_an_ecg_is_no_copy_of_frames_with_the_same_digest():
    assert find_leaks(["a", "b"], ["train", "test"], [("x", ""), ("", "x")]) == []


def test_a_subject_in_two_splits_is_refused():
    with pytest.raises(ValueError, match="two splits: train and test"):
        find_leaks(["a", "b", "a"], ["train", "val", "test"], [("", "")] * 3)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_without_the_rows_to_leave_out_no_content_is_in_two_splits(rows):
    subjects = [str(subject) for subject, _, _ in rows]
    splits = [SPLITS[subject % 3] for subject, _, _ in rows]
    contents = [(f"e{ecg}" if ecg else "", f"c{cmr}" if cmr else "") for _, ecg, cmr in rows]
    surplus = find_leaks(subjects, splits, contents)
    assert all(splits[row] != "test" for row in surplus)
    for part in (0, 1):
        found: dict[str, set[str]] = {}
        for row, content in enumerate(contents):
            if row not in surplus and content[part]:
                found.setdefault(content[part], set()).add(splits[row])
        assert all(len(held) == 1 for held in found.values())
