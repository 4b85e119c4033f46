from __future__ import annotations

import stat
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgcmr.errors import UserError
from ecgcmr.preparation.splits import assign_split, default_key_file, load_key, subject_hash

KEY = bytes(range(32))


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
    from ecgcmr.preparation import splits

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = default_key_file()
    path.parent.mkdir()
    path.write_bytes(KEY)
    splits._create_key(path)
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
