"""The tensors of `model.safetensors`: which ones a description asks for, and a strict reading of the file.

A header may claim anything; it is looked at before memory is taken. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from ecgcmr.errors import UserError
from ecgcmr.inference.model_entries import ModelDescription
from ecgcmr.text import printable

Tensors = dict[str, NDArray]

ENCODER, READOUT, HEAD, COVARIATES = "encoder.", "readout.", "head.", "covariates."
HEAD_WEIGHT, HEAD_BIAS = "head.weight", "head.bias"
COVARIATE_MEAN, COVARIATE_DEVIATION = "covariates.mean", "covariates.deviation"
DISTANCE_MEAN, DISTANCE_FACTOR = "distance.mean", "distance.factor"

MOST_HEADER_BYTES = 10_000_000
"""A header is some hundred bytes a tensor."""


def read_tensors(path: Path, checksum: str) -> Tensors:
    """Read a safetensors file whole.

    Args:
        path: The file.
        checksum: SHA-256 that it must have.

    Raises:
        UserError: It is another file than was written, is none of safetensors, or a value is NaN or infinite.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
    header = int.from_bytes(start, "little")
    if len(start) < 8 or header > min(MOST_HEADER_BYTES, size - 8):
        raise UserError(f"{path}: not a safetensors file, or damaged: its header claims {header:,} of {size:,} bytes")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise UserError(f"{path}: checksum differs from model.yaml; the file is damaged or of another model")
    try:
        tensors = safetensors.numpy.load(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # NumPy knows no bfloat16
        raise UserError(f"{path}: not a safetensors file of plain numbers ({printable(error, 100)})") from error
    broken = [name for name, values in tensors.items() if values.dtype.kind == "f" and not np.isfinite(values).all()]
    if broken:
        raise UserError(f"{path}: {printable(broken[0], 80)} holds NaN or infinity; take another model")
    return tensors


def check_tensors(description: ModelDescription, tensors: Mapping[str, NDArray], where: str) -> None:
    """Compare tensors with what a description asks for; those of encoder and readout are compared when these are built.

    Raises:
        UserError: One is missing, not asked for, or of another shape or type.
    """
    wanted = expected_shapes(description, tensors, where)
    others = [name for name in tensors if not name.startswith((ENCODER, READOUT)) and name not in wanted]
    if description.readout is None:
        others += [name for name in tensors if name.startswith(READOUT)]
    if others:
        raise UserError(f"{where}: holds {printable(others[0], 80)}, of which model.yaml says nothing")
    for name, shape in wanted.items():
        found = tensors.get(name)
        if found is None:
            raise UserError(f"{where}: has no {printable(name, 80)}, which model.yaml names")
        fits = found.ndim == len(shape) and all(w in (None, f) for w, f in zip(shape, found.shape, strict=True))
        if not fits or found.dtype not in (np.float32, np.float64):
            shown = ", ".join("any" if size is None else str(size) for size in shape)
            given = f"{found.dtype} {found.shape}"
            raise UserError(f"{where}: {printable(name, 80)} is {given}; it must be float32 or float64 ({shown})")
    for target in description.targets:
        for name in interval_tensors(description)[target.name]:
            if (tensors[name] < 0).any() or (np.diff(tensors[name]) < 0).any():
                raise UserError(f"{where}: {printable(name, 80)} must be sorted absolute residuals")
        if target.calibration is not None:
            points = tensors[target.calibration.points]
            if not ((points >= 0) & (points <= 1)).all() or (np.diff(points, axis=1) < 0).any():
                raise UserError(f"{where}: {printable(target.calibration.points, 80)} must be ascending probabilities")
    if COVARIATE_DEVIATION in tensors and not (tensors[COVARIATE_DEVIATION] > 0).all():
        raise UserError(f"{where}: {COVARIATE_DEVIATION} must be above 0")


def interval_tensors(description: ModelDescription) -> dict[str, list[str]]:
    """Return target -> names of the tensors of its intervals."""
    return {
        target.name: []
        if target.interval is None
        else [f"{target.interval.scores}.{group}" for group in target.interval.groups]
        for target in description.targets
    }


def expected_shapes(
    description: ModelDescription, tensors: Mapping[str, NDArray], where: str
) -> dict[str, tuple[int | None, ...]]:
    """Return the tensors beside those of encoder and readout -> shape; None in it stands for any size."""
    wanted: dict[str, tuple[int | None, ...]] = {}
    covariates = len(description.covariates)
    if description.targets:
        count = len(description.targets)
        wanted |= {HEAD_WEIGHT: (count, None), HEAD_BIAS: (count,)}
    if covariates:
        wanted |= {COVARIATE_MEAN: (covariates,), COVARIATE_DEVIATION: (covariates,)}
    for names in interval_tensors(description).values():
        wanted |= dict.fromkeys(names, (None,))
    wanted |= {t.calibration.points: (2, None) for t in description.targets if t.calibration is not None}
    if description.distance is not None:
        factor = tensors.get(DISTANCE_FACTOR)
        width = None if factor is None or not factor.ndim else len(factor)
        wanted |= {DISTANCE_MEAN: (width,), DISTANCE_FACTOR: (width, width)}
    return wanted
