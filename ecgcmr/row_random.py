"""Random draws that belong to a row: the same whatever batch, worker, rank or order the row comes in.

A ``RowGenerator`` stands for one independent stream per row of a batch, keyed by (seed, ..., row). It is a
``torch.Generator`` too, so that code which knows only those still runs; such code draws per batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Constants of SplitMix64 (Steele, Lea and Flood 2014)."""
_WORD = 2**64


class RowGenerator(torch.Generator):
    """One stream of random numbers for each row of a batch.

    Every call draws anew: the n-th call on a row of a key gives the same numbers in every batch of the same shape per
    row. On the CPU each stream is torch's own generator, seeded for the row; on other devices, where a call per row
    would cost more than the draws, numbers are hashed from (row, call, place) for the whole batch at once. So the
    numbers differ between kinds of devices, as torch's own do.

    Nothing waits for the device: rows that lie there are hashed there, and what has to be known on the host is taken
    from the copy that ``with_host_copy`` noted; only rows without one are fetched.
    """

    def __new__(cls, rows: Tensor, *key: int, device: torch.device | str = "cpu") -> RowGenerator:
        """Make the generator on a device."""
        return super().__new__(cls, device=device)  # type: ignore[call-arg]

    def __init__(self, rows: Tensor, *key: int, device: torch.device | str = "cpu") -> None:
        """Key the streams.

        Args:
            rows: (B,) int64, the rows' positions in the index.
            key: Non-negative integers: seed, purpose, epoch, ...
            device: Where to draw.
        """
        super().__init__()
        base = np.random.SeedSequence(list(key)).generate_state(1, np.uint64)
        self.keys = _mixed(base + _mixed(_on_host(rows).astype(np.uint64)))
        self.calls = 0
        self._rows, self._base = rows, int(base[0])
        self._device_keys: Tensor | None = None
        summary = np.bitwise_xor.reduce(_mixed(self.keys), initial=base[0])
        self.manual_seed(int(summary >> np.uint64(1)))  # for code that draws per batch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    def uniform(self, *shape: int) -> Tensor:
        """Draw (B, *shape) float32 from [0, 1)."""
        if self.device.type == "cpu":
            return self._per_row(shape, normal=False)
        return _unit(self._hashed(shape) >> 40, 24)

    def normal(self, *shape: int) -> Tensor:
        """Draw (B, *shape) float32 from the standard normal distribution."""
        if self.device.type == "cpu":
            return self._per_row(shape, normal=True)
        return _gaussian(self._hashed(shape))

    def _per_row(self, shape: tuple[int, ...], normal: bool) -> Tensor:
        self.calls += 1
        seeds = _mixed(self.keys + np.uint64(self.calls * _GOLDEN % _WORD))
        result = torch.empty(len(self), *shape)
        stream = torch.Generator()
        # torch's CPU generator takes 32 bits of its seed.
        for row, seed in zip(result, (seeds >> np.uint64(32)).tolist(), strict=True):
            stream.manual_seed(seed)
            if normal:
                row.normal_(generator=stream)
            else:
                row.uniform_(generator=stream)
        return result

    def _hashed(self, shape: tuple[int, ...]) -> Tensor:
        """Return (B, *shape) int64 with 64 random bits each."""
        self.calls += 1
        if self._device_keys is None:
            rows = self._rows.to(self.device, torch.int64, non_blocking=True)
            self._device_keys = _hash(_hash(rows.clone()) + _signed(self._base))
        seeds = _hash(self._device_keys + _signed(self.calls * _GOLDEN % _WORD))
        place = torch.arange(math.prod(shape), device=self.device).mul_(_signed(_GOLDEN))
        return _hash(seeds[:, None] + place).view(len(self), *shape)


def with_host_copy(rows: Tensor, host: np.ndarray) -> Tensor:
    """Note on rows (B,) that lie on a device what they are; generators then need not wait for it. Returns ``rows``.

    The note belongs to this very tensor: a part or a sum of it has none.
    """
    rows.host_copy = host  # type: ignore[attr-defined]
    return rows


def _on_host(rows: Tensor) -> np.ndarray:
    """Return rows (B,), from the copy that was noted if there is one."""
    noted = getattr(rows, "host_copy", None)
    return rows.cpu().numpy() if noted is None else noted


def uniform(generator: torch.Generator, like: Tensor, *shape: int) -> Tensor:
    """Draw (B, *shape) from [0, 1) on the device and in the type of ``like`` (B, ...); per row if the generator can."""
    if isinstance(generator, RowGenerator):
        return generator.uniform(*shape).to(like.dtype)
    return torch.rand(len(like), *shape, generator=generator, device=like.device, dtype=like.dtype)


def normal(generator: torch.Generator, like: Tensor, *shape: int) -> Tensor:
    """As ``uniform``, from the standard normal distribution."""
    if isinstance(generator, RowGenerator):
        return generator.normal(*shape).to(like.dtype)
    return torch.randn(len(like), *shape, generator=generator, device=like.device, dtype=like.dtype)


def _mixed(words: np.ndarray) -> np.ndarray:
    """Return SplitMix64's finaliser of uint64 words."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(_FIRST)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(_SECOND)
    return words ^ (words >> np.uint64(31))


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word


def _hash(words: Tensor) -> Tensor:
    """Return SplitMix64's finaliser of int64 words, in place; shifts fill with zeros, as of unsigned words."""
    words ^= (words >> 30) & (2**34 - 1)
    words *= _signed(_FIRST)
    words ^= (words >> 27) & (2**37 - 1)
    words *= _signed(_SECOND)
    words ^= (words >> 31) & (2**33 - 1)
    return words


def _unit(words: Tensor, bits: int) -> Tensor:
    """Turn the lowest bits of int64 words into float32 in [0, 1)."""
    return (words & (2**bits - 1)).float().mul_(2.0**-bits)


def _gaussian(words: Tensor) -> Tensor:
    """Turn 64 random bits each into standard normal float32 (Box and Muller 1958): 40 bits for the radius."""
    radius = ((words >> 24) & (2**40 - 1)).float().add_(0.5).mul_(2.0**-40)  # never 0; up to 7.5 standard deviations
    angle = _unit(words, 24).mul_(2.0 * math.pi)
    return radius.clamp_(max=1.0).log_().mul_(-2.0).sqrt_().mul_(angle.cos_())
