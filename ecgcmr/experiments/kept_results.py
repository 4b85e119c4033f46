"""Results that take long, computed once and kept in the experiment's folder under a fingerprint of their origin."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgcmr.experiments.methods import Outcome
from ecgcmr.experiments.stage_runs import is_finished, write_marker
from ecgcmr.files import write_atomically

_FILE = "outcome.npz"


def kept_outcome(folder: Path, fingerprint: str, compute: Callable[[], Outcome]) -> Outcome:
    """Return an outcome, computed once.

    Args:
        folder: Where it is kept.
        fingerprint: Of everything it depends on.
        compute: Makes it.
    """

    def arrays() -> dict[str, NDArray]:
        """Return the outcome as arrays, as a file keeps it."""
        made = compute()
        validation = made.validation if made.validation is not None else np.empty((0, 0))
        return {
            "prediction": made.prediction,
            "validation": validation,
            "notes": np.array(made.notes, dtype=np.str_),
        }

    kept = kept_arrays(folder, fingerprint, arrays)
    return Outcome(kept["prediction"], kept["validation"], kept["notes"].tolist())


def kept_arrays(folder: Path, fingerprint: str, compute: Callable[[], dict[str, NDArray]]) -> Mapping[str, NDArray]:
    """Return named arrays, computed once; arguments as of ``kept_outcome``."""
    path = folder / _FILE
    if is_finished(folder, fingerprint):
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    arrays = compute()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())
    write_marker(folder, fingerprint, finished=True)
    return arrays
