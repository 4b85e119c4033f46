"""The benchmarks measure what they say: the plain twin agrees with the compiled one, and bench.json is flat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecgcmr.benchmarks import cleaning, infer
from ecgcmr.cli import main


def test_sparse_twin_gives_the_same_baseline() -> None:
    numbers = cleaning.measure(recordings=1)
    assert numbers["baseline_deviation"] < 1e-6
    assert numbers["clean_deviation"] < 1e-6
    assert numbers["clean_ecgs_per_s"] > 0


@pytest.mark.long
def test_bench_json_is_flat_and_keeps_other_parts(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"earlier": 1.5}')
    assert main(["bench", "--out", str(tmp_path), "--only", "loading", "--recordings", "300"]) == 0
    numbers = json.loads((tmp_path / "bench.json").read_text())
    assert numbers["earlier"] == 1.5
    assert all(isinstance(value, float) for value in numbers.values())
    for name in ("loader_vs_memory", "paired_loader_vs_memory"):
        assert numbers[name] == min(numbers[f"{name}_{count}_workers"] for count in (0, 2)) > 0
    assert {"loader_rss_growth_mb", "loader_rss_growth_later_mb", "loader_samples_per_s_0_workers"} <= set(numbers)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "cleaning", "--compile"], "--compile: is of the part networks"),
        (["--only", "cleaning", "--batch", "128"], "--batch: is of the part networks"),
        (["--only", "networks", "--recordings", "4096"], "--recordings: is of the part loading"),
        (["--only", "loading", "--device", "cpu"], "--device: is of the part training or choices"),
        (["--only", "loading", "--recordings", "0"], "--recordings 0: at least"),
        (["--only", "networks", "--batch", "0"], "--batch 0: at least 2"),
    ],
)
def test_no_option_is_ignored(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--out", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err


def test_unknown_part_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--out", str(tmp_path), "--only", "cooking"]) == 2
    assert "cooking" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.slow
def test_inference_is_measured() -> None:
    numbers = infer.measure(recordings=4, starts=1)
    assert set(numbers) == {
        "infer_start_s", "infer_start_processor_s", "infer_one_s", "infer_one_with_page_s",
        "infer_ecgs_per_s_1", "infer_ecgs_per_s_2", "infer_processor_ms_per_ecg", "infer_published_ecgs_per_s_2",
    }  # fmt: skip
    assert min(numbers.values()) > 0
