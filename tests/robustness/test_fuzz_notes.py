"""Damaged JSON notes that the program reads again: each is refused in one line, or counts as none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_kind import JSON, Kind

from ecgcmr.benchmarks import command as bench
from ecgcmr.errors import UserError
from ecgcmr.experiments import out_folder
from ecgcmr.experiments.stage_runs import marker_state
from ecgcmr.output_folder import MARKER, output_folder
from ecgcmr.preparation.membership import Membership, read_membership
from ecgcmr.sealed_note import recall_sealed
from ecgcmr.speed_choices.memory import recall

MUTANTS = 150
HASH = "0" * 32
BENCH = {"cleaning_per_s": 120.5, "default_vs_best_mae": 0.98, "loading_per_s": 3000}
TIMES = {"seconds": {"a": 0.1, "b": 0.2}, "steady": True, "measured": 1.0, "machine": {"cores": "2"}}
PLACES = {"shard_size": 2, "shards": [["a", "b"], []], "splits": {HASH: "train"}, "files": {"x": HASH}, "key": "k"}
STAGE = {"fingerprint": "ab" * 32, "finished": True}
ORIGIN = {"command": "evaluate", "source": "0" * 64, "files": ["results.json", "figures/a.png"]}


def _write_again(folder: Path) -> None:
    with output_folder(folder, "evaluate", {"a": 1}, overwrite=True) as staged:
        (staged / "new.json").write_text("{}")


def _finite(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(v, int | float) and abs(v) < np.inf for v in values.values())


Reader = Callable[[Path], Any]
NOTES: dict[str, tuple[str, Any, Reader, Callable[[Any], bool]]] = {
    "bench": ("bench.json", BENCH, bench._earlier, _finite),
    "times of parts": (
        "times.json", TIMES, lambda path: recall(path, {"a"}), lambda kept: kept is None or _finite(kept.seconds)
    ),
    "membership": (
        "membership.json", PLACES, lambda path: read_membership(path.parent), lambda got: isinstance(got, Membership)
    ),
    "stage": ("stage.json", STAGE, lambda path: marker_state(path.parent), lambda got: isinstance(got, dict)),
    "origin of results": (MARKER, ORIGIN, lambda path: _write_again(path.parent), lambda got: got is None),
    "name of an experiment": (
        out_folder._NAME_FILE, {"file": "a.yaml"}, lambda path: out_folder._name(path.parent),
        lambda got: got is None or isinstance(got, str),
    ),
    "sealed": ("a.json", {"seal": "0", "a": 1}, recall_sealed, lambda got: got is None),
}  # fmt: skip


@pytest.mark.parametrize("note", NOTES)
def test_no_damaged_note_does_more_than_be_refused_in_one_line(tmp_path: Path, note: str) -> None:
    name, content, read, is_sound = NOTES[note]
    good = json.dumps(content, indent=1).encode()
    kind = Kind(note, "", name, JSON, ())
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(MUTANTS):
        (folder / name).write_bytes(kind.mutant(good, 0, number))
        try:
            assert is_sound(read(folder / name)), number
        except UserError as error:
            line = str(error)
            assert name in line, (number, line[:300])
            assert len(line) < 900, number
            assert line.isprintable(), (number, line[:300])
    assert outside.read_text() == "{}"


@pytest.mark.parametrize("name", ["../outside.json", "x/../../outside.json", "."])
def test_an_edited_origin_never_removes_a_file_beyond_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    _write_again(folder)
    content = json.loads((folder / MARKER).read_text())
    (tmp_path / "outside.json").write_text("{}")
    (folder / MARKER).write_text(json.dumps({**content, "files": [name, str(tmp_path / "outside.json"), "gone.json"]}))
    (folder / "gone.json").write_text("{}")
    _write_again(folder)
    assert (tmp_path / "outside.json").is_file()
    assert (folder / "new.json").is_file()
    assert not (folder / "gone.json").exists()
