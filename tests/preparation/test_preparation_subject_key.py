"""The secret key and the list of who withdrew: nothing brings anybody back, or gives all subjects new hashes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from raw_file_writers import write_cine_folder
from small_raw import IDS, prepare, write_ecgs

from ecgcmr.errors import UserError
from ecgcmr.preparation import subject_hash
from ecgcmr.preparation.subject_key import default_key_file, key_fingerprint, load_key
from ecgcmr.shards.index import ShardIndex

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    path = default_key_file()
    path.parent.mkdir(parents=True)
    path.write_bytes(KEY)
    path.chmod(0o600)
    return tmp_path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_ecgs(tmp_path / "raw", [f"{i}_20205_2_0.xml" for i in IDS])


@pytest.fixture
def gone(tmp_path: Path) -> Path:
    """The first subject withdraws; another id of the list is of nobody here."""
    path = tmp_path / "gone.csv"
    path.write_text(f"{IDS[0]}\n7777777\n")
    return path


def given_out(out: Path) -> set[str]:
    index = ShardIndex.load(out)
    return set(index.subjects(index.positions(None, need=())))


EVERYBODY = {subject_hash(i, KEY) for i in IDS}
REMAINING = {subject_hash(i, KEY) for i in IDS[1:]}


def test_a_fingerprint_tells_keys_apart_and_lies_in_index_and_membership(raw: Path, tmp_path: Path) -> None:
    assert key_fingerprint(KEY) == key_fingerprint(bytes(KEY)) != key_fingerprint(OTHER)
    prepare("--out", tmp_path / "out", "--ecg", raw)
    assert ShardIndex.load(tmp_path / "out").extra == {"key_fingerprint": key_fingerprint(KEY)}
    assert json.loads((tmp_path / "out/shards/membership.json").read_text())["key"] == key_fingerprint(KEY)
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or KEY not in path.read_bytes()


@pytest.mark.parametrize("how", ["prepare", "withdraw", "no index", "named"])
def test_another_key_is_refused(raw: Path, gone: Path, tmp_path: Path, how: str) -> None:
    out = tmp_path / "out"
    prepare("--out", out, "--ecg", raw)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    if how == "no index":
        (out / "index.json").unlink()
        del before[out / "index.json"]
    words = ["--out", out, "--withdrawn", gone] if how == "withdraw" else ["--out", out, "--ecg", raw]
    if how == "named":
        (tmp_path / "other.key").write_bytes(OTHER)
        words += ["--key-file", tmp_path / "other.key"]
    else:
        default_key_file().write_bytes(OTHER)
    with pytest.raises(UserError, match=r"was prepared with another secret key than .*key; name .* with --key-file"):
        prepare(*words)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_new_key_is_announced_and_never_made_for_a_folder_that_is_prepared(
    raw: Path, gone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default_key_file().unlink()
    prepare("--out", tmp_path / "out", "--ecg", raw)
    assert f"note: made a new secret key, {default_key_file()}" in capsys.readouterr().err
    default_key_file().unlink()
    for words in (["--ecg", raw], ["--withdrawn", gone]):
        with pytest.raises(UserError, match="subject.key does not exist; name the key with --key-file"):
            prepare("--out", tmp_path / "out", *words)
    assert not default_key_file().exists()


def forget_key(out: Path) -> None:
    """Make a folder such as was written before there were fingerprints."""
    index = json.loads((out / "index.json").read_text())
    index["extra"] = {}
    (out / "index.json").write_text(json.dumps(index))
    membership = json.loads((out / "shards/membership.json").read_text())
    old = {name: membership[name] for name in ("shard_size", "shards", "splits")}
    (out / "shards/membership.json").write_text(json.dumps(old))


def test_a_folder_without_a_fingerprint_takes_the_key_that_gives_its_subjects(
    raw: Path, gone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare("--out", out, "--ecg", raw)
    forget_key(out)
    default_key_file().write_bytes(OTHER)
    with pytest.raises(UserError, match="none of its subjects is among the present ones.*another secret key"):
        prepare("--out", out, "--ecg", raw)
    with pytest.raises(UserError, match=r"--withdrawn gone.csv: matches nobody: none of its 2 ids"):
        prepare("--out", out, "--withdrawn", gone)
    assert given_out(out) == EVERYBODY
    default_key_file().write_bytes(KEY)
    prepare("--out", out, "--withdrawn", gone)
    assert given_out(out) == REMAINING
    assert ShardIndex.load(out).extra == {"key_fingerprint": key_fingerprint(KEY)}
    prepare("--out", out, "--ecg", raw)
    assert given_out(out) == REMAINING


def test_how_many_of_the_list_matched_is_said_and_nobody_is_an_error(
    raw: Path, gone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    prepare("--out", out, "--ecg", raw)
    prepare("--out", out, "--withdrawn", gone)
    assert "1 of 2 listed subjects are or were here and are withdrawn, 1 rows left out" in capsys.readouterr().out
    prepare("--out", out, "--withdrawn", gone)  # a list that is applied again matches those who are withdrawn already
    gone.write_text("0" + IDS[1] + "\n")
    for words in (["--out", out], ["--out", out, "--ecg", raw], ["--out", tmp_path / "new", "--ecg", raw]):
        with pytest.raises(UserError, match="matches nobody: none of its 1 ids"):
            prepare(*words, "--withdrawn", gone)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("how", ["index", "membership", "old index", "other shard size", "copy", "subjects"])
def test_nothing_brings_the_withdrawn_back(
    raw: Path, gone: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, words = tmp_path / "out", ["--ecg", raw]
    prepare("--out", out, *words)
    old_index = (out / "index.json").read_bytes()
    prepare("--out", out, "--withdrawn", gone)
    if how == "index":
        (out / "index.json").unlink()
    elif how == "membership":
        (out / "shards/membership.json").unlink()
    elif how == "old index":
        (out / "index.json").write_bytes(old_index)
    elif how == "other shard size":
        words += ["--shard-size", "2"]
    elif how == "copy":
        out = Path(shutil.copytree(out, tmp_path / "copy"))
    else:
        (tmp_path / "s.csv").write_text("file,subject\n" + "".join(f"{i}_20205_2_0.xml,P{i}\n" for i in IDS))
        words += ["--subjects", tmp_path / "s.csv"]
    capsys.readouterr()
    prepare("--out", out, *words)
    if how == "subjects":
        assert given_out(out) == {subject_hash(f"P{i}", KEY) for i in IDS[1:]}
        assert "4 files are of another subject than in the earlier run" in capsys.readouterr().err
    else:
        assert given_out(out) == REMAINING


def test_an_index_of_another_folder_is_found_by_its_key(raw: Path, tmp_path: Path) -> None:
    prepare("--out", tmp_path / "out", "--ecg", raw)
    default_key_file().write_bytes(OTHER)
    prepare("--out", tmp_path / "other", "--ecg", raw)
    shutil.copy(tmp_path / "other" / "index.json", tmp_path / "out")
    with pytest.raises(UserError, match="index.json and shards/membership.json were made with different secret keys"):
        prepare("--out", tmp_path / "out", "--ecg", raw)


def test_equal_names_below_both_folders_are_two_files(tmp_path: Path, gone: Path) -> None:
    write_ecgs(tmp_path / "ecg", ["a.dir/x.xml", "b.xml"])
    (tmp_path / "ecg" / "a.dir" / "x.xml").rename(tmp_path / "ecg" / "scan")
    write_cine_folder(tmp_path / "cmr" / "scan", 1)
    words = ("--ecg", tmp_path / "ecg", "--cmr", tmp_path / "cmr", "--size", 32)
    prepare("--out", tmp_path / "out", *words)
    prepare("--out", tmp_path / "out", *words)
    assert given_out(tmp_path / "out") == {subject_hash(name, KEY) for name in ("scan", "b")}
    gone.write_text("scan\n")
    prepare("--out", tmp_path / "out", *words, "--withdrawn", gone)
    assert given_out(tmp_path / "out") == {subject_hash("b", KEY)}


def test_shards_alone_do_not_say_who_has_withdrawn(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare("--out", out, "--ecg", raw)
    (out / "index.json").unlink()
    (out / "shards/membership.json").unlink()
    with pytest.raises(UserError, match="holds shards, but neither index.json nor shards/membership.json"):
        prepare("--out", out, "--ecg", raw)


def test_keys_that_cannot_be_used_or_are_not_private(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    default_key_file().write_bytes(b"")
    with pytest.raises(UserError, match="has 0 bytes .* restore it"):
        load_key()
    with pytest.raises(UserError, match="is no file"):
        load_key(tmp_path)
    default_key_file().write_bytes(KEY)
    default_key_file().chmod(0o644)
    raw = write_ecgs(tmp_path / "raw", ["1.xml"])
    prepare("--out", tmp_path / "out", "--ecg", raw)
    assert "others may read the secret key" in capsys.readouterr().err
