"""Comparing with the golden vectors: every array is either given to our code or compared, and each deviation is kept.

``with GoldenFile(path) as golden:`` gives inputs by ``golden["x"]`` and compares by ``golden.compare("pred", ours)``;
leaving the block fails if any array deviates. ``RESULTS`` is what the report and the test of completeness read.
"""

from __future__ import annotations

import json
import os
from fnmatch import fnmatch
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch

TOLERANCE = 1e-5
"""Of float32 results, relative to the array's largest absolute value (README of the golden vectors)."""
FLOAT64_TOLERANCE = 1e-6
"""Of the preprocessing, which is computed in float64."""

INPUTS = {
    "mae_*": ["x", "noise", "w/*"],
    "encoder_*": ["x", "w/*"],
    "clip_*": ["z_*", "temperature", "lambda_image"],
    "ntxent_*": ["z_*", "temperature"],
    "supcon_*": ["z_*", "temperature", "threshold", "similarity", "indices", "contrast_mode"],
    "remove_fn*": ["z_*", "temperature", "threshold", "similarity", "indices"],
    "pos_embed*": ["grid_*", "embed_dim", "interpolated_grid_w"],
    "schedule*": ["epoch", "base_lr", "min_lr", "warmup_epochs", "epochs", "lr_scale"],
    "ft_surrogate*": ["x", "uniform", "phase_noise_magnitude"],
    "preprocess_*": ["raw"],
}
"""What the published implementation was given; all else is what came out of it, or a constant of its recipe."""


class Result(NamedTuple):
    """How far one array lies from ours; both deviations are infinite where the shapes differ."""

    file: str
    array: str
    absolute: float
    relative: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the relative deviation is within the tolerance; NaN is not."""
        return self.relative <= self.tolerance


RESULTS: list[Result] = []
READ: set[tuple[str, str]] = set()


def golden_folder() -> Path | None:
    """Return the folder of golden vectors, or None where there is none."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "parity"
    folder = Path(os.environ.get("ECGCMR_PARITY_DIR", beside))
    return folder if folder.is_dir() else None


def golden_files(pattern: str) -> list[Path]:
    """Return the archives of a name pattern, in order."""
    folder = golden_folder()
    return sorted(folder.glob(pattern)) if folder else []


def all_arrays() -> set[tuple[str, str]]:
    """Return (file, array) of everything the folder holds; a JSON table counts as its two columns."""
    arrays = {(path.stem, name) for path in golden_files("*.npz") for name in np.load(path).files}
    return arrays | {(path.stem, name) for path in golden_files("layer_decay_*.json") for name in DECAY_COLUMNS}


DECAY_COLUMNS = ("lr_scale", "weight_decay")


def is_input(file: str, array: str) -> bool:
    """Tell whether an array was given to the published implementation."""
    patterns = [names for start, names in INPUTS.items() if fnmatch(file, start)]
    return any(fnmatch(array, name) for names in patterns for name in names)


def deviations(ours: np.ndarray, golden: np.ndarray) -> tuple[float, float]:
    """Return the largest difference, absolute and relative to the largest golden value."""
    if ours.shape != golden.shape:
        return float("inf"), float("inf")
    absolute = float(np.abs(ours.astype(np.float64) - golden.astype(np.float64)).max(initial=0.0))
    largest = float(np.abs(golden.astype(np.float64)).max(initial=0.0))
    return absolute, absolute / largest if largest > 0 else absolute


def _array(value: Any) -> np.ndarray:
    return value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


class GoldenFile:
    """One archive of golden vectors, or the table of layer-wise decay as two arrays over its sorted names."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.failed: list[Result] = []
        if path.suffix == ".json":
            table = json.loads(path.read_text())
            self.rows = sorted(table)
            columns = np.array([table[name] for name in self.rows], dtype=np.float64).T
            self.arrays = dict(zip(DECAY_COLUMNS, columns, strict=True))
        else:
            archive = np.load(path)
            self.arrays = {name: archive[name] for name in archive.files}

    def __enter__(self) -> GoldenFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            assert not self.failed, f"{self.name}: " + "; ".join(
                f"{r.array} deviates by {r.relative:.2e} of its largest value, allowed are {r.tolerance:.0e}"
                for r in self.failed
            )

    def __getitem__(self, array: str) -> np.ndarray:
        """Return an input."""
        assert is_input(self.name, array), f"{self.name}: {array} is a result; compare it"
        READ.add((self.name, array))
        return self.arrays[array]

    def tensor(self, array: str) -> torch.Tensor:
        """Return an input as a tensor."""
        return torch.from_numpy(self[array])

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the parameters by their published names."""
        return {name[2:]: self.tensor(name) for name in self.arrays if name.startswith("w/")}

    def compare(self, array: str, ours: Any, tolerance: float = TOLERANCE) -> None:
        """Hold our result against an array and keep the deviation; integers must agree exactly."""
        golden = self.arrays[array]
        if np.issubdtype(golden.dtype, np.integer):
            tolerance = 0.0
        result = Result(self.name, array, *deviations(_array(ours), golden), tolerance)
        RESULTS.append(result)
        if not result.passed:
            self.failed.append(result)


def report(results: list[Result]) -> list[str]:
    """Return a line for each array, its largest deviation where it was compared more than once."""
    worst: dict[tuple[str, str], Result] = {}
    for result in results:
        before = worst.get(result[:2])
        if before is None or not result.relative <= before.relative:
            worst[result[:2]] = result
    lines = [f"{'file':<36}{'array':<32}{'largest':>10}{'relative':>10}{'allowed':>9}"]
    for result in worst.values():
        numbers = f"{result.absolute:>10.1e}{result.relative:>10.1e}{result.tolerance:>9.0e}"
        lines.append(f"{result.file:<36}{result.array:<32}{numbers}  {'ok' if result.passed else 'FAIL'}")
    failed = sum(not result.passed for result in worst.values())
    return [*lines, f"{len(worst)} arrays compared, {failed} beyond their tolerance"]
