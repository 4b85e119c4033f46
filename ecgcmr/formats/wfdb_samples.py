"""Decoding WFDB signal files: the formats of the WFDB manual (PhysioNet, ``signal(5)``) that are not compressed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Steps = npt.NDArray[np.int64]

BYTES = {"8": 1, "16": 2, "24": 3, "32": 4, "61": 2, "80": 1, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
"""Bytes per sample; samples follow each other, frame by frame."""

INVALID = {
    "16": -(2**15), "24": -(2**23), "32": -(2**31), "61": -(2**15), "80": -(2**7), "160": -(2**15), "212": -(2**11),
    "310": -(2**9), "311": -(2**9),
}  # fmt: skip
"""The step that marks a sample as missing; format 8 has none."""


def bytes_for(kind: str, samples: int) -> int:
    """Return how many bytes so many samples of a format take."""
    return int(np.ceil(samples * BYTES[kind] - 1e-6))


def decode(content: bytes, kind: str, per_frame: Sequence[int], initial: Sequence[int]) -> list[Steps]:
    """Decode the samples of all signals of a file.

    Args:
        content: Whole frames, without what stands before them.
        kind: The format, a key of ``BYTES``.
        per_frame: For each signal its samples in a frame.
        initial: For each signal its first step, which format 8 (differences) begins from.

    Returns:
        For each signal (frames, samples in a frame) converter steps.
    """
    width = sum(per_frame)
    steps = _flat(content, kind)
    frames = steps[: len(steps) // width * width].reshape(-1, width)
    edges = np.cumsum(per_frame)[:-1]
    signals = np.split(frames, edges, axis=1)
    if kind == "8":
        signals = [
            np.cumsum(part.ravel()).reshape(part.shape) + start for part, start in zip(signals, initial, strict=True)
        ]
    return signals


def _flat(content: bytes, kind: str) -> Steps:
    """Return all steps in the order of the file."""
    plain = {"16": "<i2", "61": ">i2", "32": "<i4", "160": "<u2", "80": "u1", "8": "i1"}
    if kind in plain:
        dtype = np.dtype(plain[kind])
        whole = len(content) // dtype.itemsize * dtype.itemsize
        steps = np.frombuffer(content[:whole], dtype).astype(np.int64)
        return steps - {"160": 2**15, "80": 2**7}.get(kind, 0)
    size, bits = {"24": (3, 24), "212": (3, 12), "310": (4, 10), "311": (4, 10)}[kind]
    samples = int(len(content) / BYTES[kind] + 1e-6)
    padded = content + bytes(-len(content) % size)
    group = np.frombuffer(padded, np.uint8).reshape(-1, size).astype(np.int64)
    if kind == "24":
        parts = [group[:, 0] | group[:, 1] << 8 | group[:, 2] << 16]
    elif kind == "212":
        parts = [group[:, 0] | (group[:, 1] & 0x0F) << 8, group[:, 2] | (group[:, 1] >> 4) << 8]
    elif kind == "310":
        first, second = group[:, 0] | group[:, 1] << 8, group[:, 2] | group[:, 3] << 8
        parts = [first >> 1 & 0x3FF, second >> 1 & 0x3FF, first >> 11 | (second >> 11) << 5]
    else:
        word = group[:, 0] | group[:, 1] << 8 | group[:, 2] << 16 | group[:, 3] << 24
        parts = [word & 0x3FF, word >> 10 & 0x3FF, word >> 20 & 0x3FF]
    steps = np.stack(parts, axis=1).ravel()[:samples]
    return np.where(steps >= 1 << (bits - 1), steps - (1 << bits), steps)
