"""Arrays of other shapes, types and values in .npy files."""

from __future__ import annotations

import io

import numpy as np

Generator = np.random.Generator


def odd_array(array: np.ndarray, rng: Generator) -> np.ndarray:
    """Another shape, type or content."""
    if not array.ndim:  # a single value: another type, or several
        others = (
            np.array(["text", "a\x1b[31m"]),
            np.zeros(3),
            np.array(np.nan),
            np.array(2**62),
            np.array(""),
            np.array(-5),
        )
        return others[rng.integers(len(others))]
    flat = array.ravel()
    way = int(rng.integers(9))
    if way == 0:
        return array[:0]
    if way == 1:
        return array[: max(1, len(array) // 2)] if array.ndim else array[None]
    if way == 2:
        return array[None]
    if way == 3:
        return np.concatenate([array, array[:1]]) if array.ndim and len(array) else np.zeros(3)
    if way == 4:
        return np.array(["text", "a\x1b[31m"])
    if way == 5 and array.dtype.kind == "f":
        array = array.copy()
        extreme = rng.choice([np.nan, np.inf, 1e300, -1e300])
        with np.errstate(over="ignore"):  # in float32 it is infinite
            array.ravel()[rng.integers(max(1, flat.size), size=3) % max(1, flat.size)] = extreme
        return array
    if way == 6:
        return np.full(array.shape, np.nan)
    if way == 7:
        return array.astype(np.complex128) if array.dtype.kind in "fiu" else np.zeros(array.shape, "datetime64[s]")
    return np.zeros(array.shape, bool)


def npy_array(content: bytes, rng: Generator) -> bytes:
    """An array that is another."""
    buffer = io.BytesIO()
    np.save(buffer, odd_array(np.load(io.BytesIO(content)), rng))
    return buffer.getvalue()
