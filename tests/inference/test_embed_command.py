"""``ecgcmr embed``: a row for each recording, never computed twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from one_ecg import ecg_mv, write_npy
from tiny_model import write_tiny_model

import ecgcmr
from ecgcmr.cli import main
from ecgcmr.inference import embeddings_file, file_tasks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("embed")
    write_tiny_model(made / "model", distance=None)
    for row in range(3):
        write_npy(made / "clinic" / "day", ecg_mv(row), f"ecg{row}.npy")
    write_npy(made / "clinic" / "day", ecg_mv(0)[:, :4000], "short.npy")
    (made / "clinic" / "README").write_text("nothing", encoding="utf-8")
    (made / "clinic" / "scan.xml").write_bytes(b"%PDF-1.7")
    return made


def _embed(folder: Path, out: Path, *more: str, model: str = "model") -> int:
    named = [str(folder / "clinic"), "--model", str(folder / model), "--out", str(out)]
    return main(["embed", *named, "--workers", "1", *more])


def test_a_folder_becomes_a_table(folder: Path, tmp_path: Path):
    out = tmp_path / "e.parquet"
    assert _embed(folder, out) == 3
    schema = parquet.read_schema(out)
    assert schema.names == ["file", "recording", "embedding", "quality", "in_distribution"]
    assert schema.field("embedding").type == pa.list_(pa.float32(), 32)
    table = pd.read_parquet(out)
    assert list(table.file) == [f"day/ecg{row}.npy" for row in range(3)]
    model = ecgcmr.load(folder / "model")
    expected = np.stack([one.embedding for one in model.embed([folder / "clinic" / name for name in table.file])])
    np.testing.assert_allclose(np.stack(table.embedding), expected, atol=1e-5)
    assert table.quality.between(0.3, 1).all()
    assert table.in_distribution.isna().all()
    summary = json.loads((tmp_path / "e.summary.json").read_text(encoding="utf-8"))
    assert [one["file"] for one in summary["failed"]] == ["scan.xml"]
    assert [one["file"] for one in summary["refused"]] == ["day/short.npy"]
    assert [one["file"] for one in summary["skipped"]] == ["README"]


def test_known_rows_are_taken_and_an_interrupted_run_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "e.parquet"
    monkeypatch.setattr(file_tasks, "BLOCK", 1)
    read, read_files = list[str](), file_tasks.read_files

    def count(task: file_tasks.FileTask) -> list[file_tasks.FileRead]:
        if len(read) == 2:
            read.append("")
            raise KeyboardInterrupt
        read.extend(path.name for path in task.paths)
        return read_files(task)

    monkeypatch.setattr(file_tasks, "read_files", count)
    assert _embed(folder, out) == 130
    assert not out.exists()
    assert _embed(folder, out) == 3
    assert read == ["ecg0.npy", "ecg1.npy", "", "ecg2.npy", "short.npy", "scan.xml"]
    first = pd.read_parquet(out)
    assert list(first.file) == [f"day/ecg{row}.npy" for row in range(3)]
    assert [path.name for path in tmp_path.glob(".*parts")] == []
    read.clear()
    write_npy(folder / "clinic" / "later", ecg_mv(1), "new.npy")
    try:
        read.extend(["", "", ""])  # no interruption
        assert _embed(folder, out) == 3
    finally:
        (folder / "clinic" / "later" / "new.npy").unlink()
    assert "ecg0.npy" not in read
    assert "new.npy" in read
    second = pd.read_parquet(out)
    assert len(second) == 4
    np.testing.assert_array_equal(second.embedding[3], first.embedding[1])


def test_parts_that_outlive_the_file_they_went_into_double_no_row(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "e.parquet"
    with monkeypatch.context() as patched:
        patched.setattr(embeddings_file, "remove_paths", _interrupt)
        assert _embed(folder, out) == 130
    once = pd.read_parquet(out)
    assert list(tmp_path.glob(".e.parquet.parts/*.parquet"))
    assert _embed(folder, out) == 3  # one of the files is broken
    pd.testing.assert_frame_equal(pd.read_parquet(out), once)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_models_file_is_kept(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_tiny_model(folder / "other", distance=None, name="other")
    out = tmp_path / "e.parquet"
    assert _embed(folder, out) == 3
    before = out.read_bytes()
    assert _embed(folder, out, model="other") == 2
    assert "by another model; choose another file or add --overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert _embed(folder, out, "--overwrite", model="other") == 3
    assert out.read_bytes() != before
    out.write_bytes(b"no parquet")
    assert _embed(folder, out) == 2
    assert main(["embed", str(folder), "--model", str(folder / "model"), "--out", str(tmp_path / "e.csv")]) == 2
