"""How fast ECG files become predictions: the start, one file, and many; by a small encoder and by the published one."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ecgcmr
from ecgcmr.benchmarks.preparation import write_recordings
from ecgcmr.benchmarks.timing import seconds
from ecgcmr.encoders import ECGVisionTransformer
from ecgcmr.encoders.weights import specification_of
from ecgcmr.inference.answers import Answers
from ecgcmr.inference.infer_files import InferOptions, infer_files
from ecgcmr.inference.input_files import find_input_files
from ecgcmr.inference.load import load
from ecgcmr.inference.model_entries import EncoderEntry, ModelDescription, Preparation, TargetEntry
from ecgcmr.inference.model_folder import write_model_folder
from ecgcmr.leads import LEADS
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.shards.recipe import RECIPE_VERSION

_TARGETS = 60


@dataclass(frozen=True)
class _Size:
    """A network and how much of each recording it reads."""

    encoder: dict[str, Any]
    windows: int


_SMALL = _Size({"samples": 1250, "patch_size": [12, 25], "width": 96, "depth": 3, "heads": 4}, windows=4)
"""The model that ``make demo`` leaves."""
_PUBLISHED = _Size({}, windows=1)
"""As published; each further window costs the network as much again."""


def measure(recordings: int = 1000, seed: int = 0, starts: int = 3) -> dict[str, float]:
    """Return seconds and rates.

    Rates are of wall time; ``infer_processor_ms_per_ecg`` is the processor time of one process that does all, which a
    busy machine disturbs less. Starting counts in ``infer_start_*`` alone: with worker processes, files are gone
    through once before they are timed.

    Args:
        recordings: CardioSoft files of ten seconds, 12 leads; all keys but ``infer_published_*`` are of a network of
            0.4 million parameters that reads four windows of each.
        seed: Of the recordings.
        starts: Times that the command is started; the first start fills caches, the shortest counts.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "ecg").mkdir()
        write_recordings(root / "ecg", recordings, seed)
        _write_model(root / "model", _SMALL)
        result = _start(root, starts)
        answers = Answers(load(root / "model"))
        result |= _one(root, answers)
        for workers in (1, 2):
            if workers > 1:  # else nothing is left to be started
                _many(root, answers, workers)
            before, start = time.process_time(), time.perf_counter()
            _many(root, answers, workers)
            result[f"infer_ecgs_per_s_{workers}"] = recordings / (time.perf_counter() - start)
            if workers == 1:
                result["infer_processor_ms_per_ecg"] = 1000 * (time.process_time() - before) / recordings
        _write_model(root / "published", _PUBLISHED)
        start = time.perf_counter()
        _many(root, Answers(load(root / "published")), 2)
        result["infer_published_ecgs_per_s_2"] = recordings / (time.perf_counter() - start)
    return result


def _write_model(folder: Path, size: _Size) -> None:
    """Write an encoder with linear heads; weights are drawn, which costs the same as learnt ones."""
    torch.manual_seed(0)
    encoder = ECGVisionTransformer(**size.encoder).eval()
    spec, cleaning = specification_of(encoder), Cleaning.from_name("published")
    unit: Any = cleaning.unit
    prepared = Preparation(
        RECIPE_VERSION, spec["sampling_rate"], 5000, list(LEADS), unit, "float16", cleaning.to_dict(), "reject", "first"
    )
    targets = [TargetEntry(f"number_{k}", f"Number {k}", "number", "mL", "LV", "ridge") for k in range(_TARGETS)]
    entry = EncoderEntry("ecgcmr.encoders.ECGVisionTransformer", size.encoder, spec)
    described = ModelDescription(
        "bench", ecgcmr.__version__, "0" * 64, entry, prepared, windows=size.windows, targets=targets
    )
    tensors = {f"encoder.{name}": value.numpy() for name, value in encoder.state_dict().items()}
    width = encoder.feature_dim
    tensors |= {"head.weight": np.full((_TARGETS, width), 0.01), "head.bias": np.zeros(_TARGETS)}
    write_model_folder(folder, described, tensors)


def _start(root: Path, starts: int) -> dict[str, float]:
    """Time the command on one file from the start of the process to its end."""
    file = next((root / "ecg").iterdir())
    given = [str(file), "--model", str(root / "model"), "--out", str(root / "started"), "--no-pages", "--overwrite"]
    command = [sys.executable, "-m", "ecgcmr", "infer", *given]
    wall, processor = [], []
    for _ in range(starts):
        shutil.rmtree(root / "started", ignore_errors=True)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return {"infer_start_s": min(wall), "infer_start_processor_s": min(processor)}


def _one(root: Path, answers: Answers) -> dict[str, float]:
    """Time one file, with and without its page, after the start."""
    found = find_input_files([next((root / "ecg").iterdir())])

    def infer(options: InferOptions) -> None:
        shutil.rmtree(root / "one", ignore_errors=True)
        (root / "one").mkdir()
        infer_files(answers, found, root / "one", options)

    return {
        "infer_one_s": seconds(lambda: infer(InferOptions(png=False))),
        "infer_one_with_page_s": seconds(lambda: infer(InferOptions()), 3),
    }


def _many(root: Path, answers: Answers, workers: int) -> None:
    shutil.rmtree(root / "many", ignore_errors=True)
    (root / "many").mkdir()
    infer_files(answers, find_input_files([root / "ecg"]), root / "many", InferOptions(png=False, workers=workers))
