"""Draws that belong to a row: independent of the batch, independent of each other, of the right distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ecgcmr.augmentations import CMRAugmentation, ECGAugmentation
from ecgcmr.row_random import RowGenerator, _gaussian, _unit, normal, uniform, with_host_copy


def _hashed_uniform(generator: RowGenerator, *shape: int) -> torch.Tensor:
    return _unit(generator._hashed(shape) >> 40, 24)


def _hashed_normal(generator: RowGenerator, *shape: int) -> torch.Tensor:
    return _gaussian(generator._hashed(shape))


UNIFORM = [RowGenerator.uniform, _hashed_uniform]
NORMAL = [RowGenerator.normal, _hashed_normal]
"""On the CPU, and as it is done on other devices."""


@pytest.mark.parametrize("draw", [*UNIFORM, *NORMAL])
def test_a_row_draws_the_same_in_every_batch(draw: Callable[..., torch.Tensor]) -> None:
    rows = torch.tensor([3, 70_000, 12, 0])
    whole = RowGenerator(rows, 1, 2, 3)
    first, second = draw(whole, 5, 4), draw(whole, 5, 4)
    assert not torch.equal(first, second)
    alone = RowGenerator(rows[[2, 1]], 1, 2, 3)
    assert torch.equal(draw(alone, 5, 4), first[[2, 1]])
    assert torch.equal(draw(alone, 5, 4), second[[2, 1]])
    for key in ((1, 2, 4), (0, 2, 3), (1, 2)):
        assert not torch.equal(draw(RowGenerator(rows, *key), 5, 4), first)
    assert len(torch.unique(first.flatten(1), dim=0)) == 4
    assert draw(RowGenerator(rows[:0], 1), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("draw", "numbers"),
    [
        (RowGenerator.uniform, [0.28531045, 0.78445089]),
        (_hashed_uniform, [0.27303255, 0.00062543154]),
        (RowGenerator.normal, [0.23603873, 1.3966503]),
        (_hashed_normal, [-1.2548484, -3.7762821]),
    ],
)
def test_numbers_stay_what_they_were(draw: Callable[..., torch.Tensor], numbers: list[float]) -> None:
    """Runs that are resumed under a later version draw on alike."""
    generator = RowGenerator(torch.tensor([7, 2**40]), 3, 4, 2**33)
    draw(generator, 2)
    assert draw(generator, 3)[:, 1].tolist() == pytest.approx(numbers, rel=1e-6)


def test_rows_with_a_host_copy_are_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.tensor([3, 70_000, 12, 0])
    expected = [draw(RowGenerator(rows, 5), 4) for draw in (*UNIFORM, *NORMAL)] + [
        torch.rand(3, generator=RowGenerator(rows, 5))
    ]
    noted = with_host_copy(rows.clone(), rows.numpy())
    forbid_fetching(monkeypatch)
    found = [draw(RowGenerator(noted, 5), 4) for draw in (*UNIFORM, *NORMAL)] + [
        torch.rand(3, generator=RowGenerator(noted, 5))
    ]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    with pytest.raises(AssertionError, match="waits for the device"):
        RowGenerator(noted[1:], 5)  # another tensor, of which nothing is known


def forbid_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse what would wait for a device, if tensors lay on one."""

    def refuse(self: torch.Tensor, *arguments: object) -> None:
        raise AssertionError("this waits for the device")

    for name in ("cpu", "item", "tolist", "numpy", "__int__", "__float__", "__bool__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)


@pytest.mark.parametrize("draw", UNIFORM)
def test_uniform_draws(draw: Callable[..., torch.Tensor]) -> None:
    x = draw(RowGenerator(torch.arange(2000), 7), 500)
    assert x.dtype == torch.float32
    assert 0 <= x.min() < 1e-4
    assert 1 - 1e-4 < x.max() < 1
    counts = torch.histc(x, 100, 0, 1)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 160  # chi-squared, 99 degrees of freedom: p < 1e-4 beyond
    _assert_uncorrelated(x)


@pytest.mark.parametrize("draw", NORMAL)
def test_normal_draws(draw: Callable[..., torch.Tensor]) -> None:
    x = draw(RowGenerator(torch.arange(2000), 7), 500).double()
    moments = [(x**power).mean().item() for power in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.03)
    assert 4.4 < x.abs().max() < 7
    assert torch.isfinite(x).all()
    _assert_uncorrelated(x)


def _assert_uncorrelated(x: torch.Tensor) -> None:
    """Neighbouring rows and neighbouring places are unrelated."""
    x = x.double() - x.double().mean()
    for a, b in ((x[1:], x[:-1]), (x[:, 1:], x[:, :-1])):
        assert abs((a * b).mean() / x.var()) < 5 / a.numel() ** 0.5
    columns = torch.corrcoef(x[:, :60].T).fill_diagonal_(0).abs().max()
    assert columns < 6 / len(x) ** 0.5


def test_other_code_may_use_it_as_torchs_own() -> None:
    one, two = (RowGenerator(torch.tensor([1, 2]), 4) for _ in range(2))
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=two))
    other = RowGenerator(torch.tensor([1, 3]), 4)
    assert not torch.equal(torch.rand(3, generator=other), torch.rand(3, generator=one))
    x = torch.zeros(5, 2, dtype=torch.float64)
    for draw in (uniform, normal):
        plain = draw(torch.Generator().manual_seed(0), x, 7)
        assert (plain.shape, plain.dtype) == ((5, 7), torch.float64)
        assert draw(RowGenerator(torch.arange(5), 0), x, 7).dtype == torch.float64


@pytest.mark.parametrize(
    ("augmentation", "shape"),
    [(ECGAugmentation(lead_dropout=0.2), (8, 12, 300)), (CMRAugmentation(saturation=0.5), (8, 3, 20, 30))],
)
def test_augmentation_of_a_row_does_not_depend_on_its_batch(augmentation: Callable, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(8) * 11
    whole = augmentation(x, RowGenerator(rows, 1))
    parts = [augmentation(x[part], RowGenerator(rows[part], 1)) for part in (slice(0, 3), slice(3, 8))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
    turned = augmentation(x.flip(0), RowGenerator(rows.flip(0), 1))
    torch.testing.assert_close(turned.flip(0), whole, rtol=0, atol=1e-6)
