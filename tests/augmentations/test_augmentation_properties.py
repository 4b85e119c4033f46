"""What every augmentation keeps: shape, type, input, finite values, its share, independence of the batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ecgcmr.augmentations import (
    BaselineWander,
    CMRAugmentation,
    Compose,
    CropResize,
    ECGAugmentation,
    FourierSurrogate,
    FrequencyShift,
    Gamma,
    GaussianBlur,
    GaussianNoise,
    ImageNoise,
    Jitter,
    LeadDropout,
    LeadPermutation,
    OneOf,
    Powerline,
    Rescaling,
    SegmentPermutation,
    SignFlip,
    Sometimes,
    SpecAugment,
    TimeFlip,
    TimeMasking,
    TimeShift,
    Undersampling,
    augmentation,
    ecg_spectrum,
)
from ecgcmr.augmentations.augmentation import PerRecording
from ecgcmr.errors import UserError
from ecgcmr.row_random import RowGenerator

ECG, CMR = (9, 12, 300), (9, 3, 20, 26)

WITH_SHARE: dict[str, tuple[Callable[[float], Callable], tuple[int, ...]]] = {
    "surrogate": (lambda p: FourierSurrogate(0.1, p), ECG),
    "surrogate per lead": (lambda p: FourierSurrogate(0.1, p, per_lead=True), ECG),
    "frequency shift": (lambda p: FrequencyShift((0.5, 2.0), probability=p), ECG),
    "SpecAugment": (lambda p: SpecAugment(0.25, probability=p), ECG),
    "jitter": (lambda p: Jitter(0.25, p), ECG),
    "rescaling": (lambda p: Rescaling(0.5, p), ECG),
    "sign flip": (SignFlip, ECG),
    "lead permutation": (LeadPermutation, ECG),
    "crop": (lambda p: CropResize((0.5, 0.9), p), ECG),
    "time flip": (TimeFlip, ECG),
    "time shift": (lambda p: TimeShift(0.2, probability=p), ECG),
    "wrapped shift": (lambda p: TimeShift(0.2, wrap=True, probability=p), ECG),
    "segments": (lambda p: SegmentPermutation(7, p), ECG),
    "undersampling": (lambda p: Undersampling(3, p), ECG),
    "time masking": (lambda p: TimeMasking(0.3, 0.05, probability=p), ECG),
    "time masking of all leads": (lambda p: TimeMasking(0.3, 0.05, per_lead=False, probability=p), ECG),
    "noise": (lambda p: GaussianNoise(0.1, p), ECG),
    "power line": (lambda p: Powerline((0.1, 0.2), probability=p), ECG),
    "wander": (lambda p: BaselineWander((0.1, 0.2), probability=p), ECG),
    "sometimes": (lambda p: Sometimes(Compose([Rescaling(0.5), TimeFlip(1.0)]), p), ECG),
    "gamma": (lambda p: Gamma(0.5, p), CMR),
    "blur": (lambda p: GaussianBlur((0.5, 1.5), p), CMR),
    "image noise": (lambda p: ImageNoise(0.1, p), CMR),
    "cmr recipe": (lambda p: CMRAugmentation(p, strength="heavy"), CMR),
}

ALL: dict[str, tuple[Callable, tuple[int, ...]]] = {
    **{name: (make(0.6), shape) for name, (make, shape) in WITH_SHARE.items()},
    "lead dropout": (LeadDropout(0.3), ECG),
    **{f"ecg {name}": (ECGAugmentation(strength=name), ECG) for name in ("light", "medium", "default", "heavy")},
    **{f"cmr {name}": (CMRAugmentation(strength=name), CMR) for name in ("light", "medium", "default", "heavy")},
    "one of": (OneOf([TimeFlip(1.0), SignFlip(1.0), Jitter(0.2)], [1.0, 2.0, 0.5]), ECG),
    "composed": (Compose([CropResize((0.5, 1.0)), Sometimes(SpecAugment(), 0.5), LeadDropout()]), ECG),
}


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(shape: tuple[int, ...], seed: int = 5) -> torch.Tensor:
    return torch.rand(shape, generator=_generator(seed))


@pytest.mark.parametrize("name", ALL)
def test_shape_type_and_input_are_kept_and_only_the_generator_is_drawn_from(name: str) -> None:
    augment, shape = ALL[name]
    x = _batch(shape)
    before, state = x.clone(), torch.random.get_rng_state()
    first, again, other = (augment(x, _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(x, before)
    assert (first.shape, first.dtype, first.device) == (x.shape, x.dtype, x.device)
    assert augment(x.double(), _generator()).dtype == torch.float64
    assert augment(x[:0], _generator()).shape == (0, *shape[1:])
    assert augment(x[:0], RowGenerator(torch.arange(0), 1)).shape == (0, *shape[1:])


@pytest.mark.parametrize("name", ALL)
def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    augment, shape = ALL[name]
    x, rows = _batch(shape), torch.arange(shape[0]) * 11
    whole = augment(x, RowGenerator(rows, 1))
    parts = [augment(x[part], RowGenerator(rows[part], 1)) for part in (slice(0, 4), slice(4, 5), slice(5, 9))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=2e-6)
    turned = augment(x.flip(0), RowGenerator(rows.flip(0), 1))
    torch.testing.assert_close(turned.flip(0), whole, rtol=0, atol=2e-6)
    if "undersampling" not in name:
        alike = augment(x[:1].expand(shape).contiguous(), RowGenerator(rows, 1))
        assert len(torch.unique(alike.flatten(1), dim=0)) > 1


@pytest.mark.parametrize("name", WITH_SHARE)
def test_share_of_rows_changed(name: str) -> None:
    make, shape = WITH_SHARE[name]
    x = _batch((120, 4, *shape[2:]) if shape == ECG else (120, 1, *shape[2:]))

    def share(probability: float) -> float:
        return (make(probability)(x, _generator()) != x).flatten(1).any(dim=1).float().mean().item()

    assert share(0.0) == 0.0
    # An order drawn anew may be the old one: 1 in 24 for the four leads here.
    assert share(1.0) > (0.9 if "permutation" in name else 0.98)
    assert share(0.4) == pytest.approx(0.4, abs=0.15)


@pytest.mark.parametrize("name", ALL)
def test_finite_for_zeros_constants_and_very_large_values(name: str) -> None:
    augment, shape = ALL[name]
    for value in (0.0, 1.0, -1e30, 1e30):
        x = torch.full(shape, value)
        assert torch.isfinite(augment(x, _generator())).all(), value
    assert torch.isfinite(augment((_batch(shape) - 0.5) * 1e30, _generator())).all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_give_the_rounded_result_of_full_precision(name: str, dtype: torch.dtype) -> None:
    augment, shape = ALL[name]
    x = _batch(shape).to(dtype)
    half, full = (augment(values, RowGenerator(torch.arange(9), 3)) for values in (x, x.float()))
    assert half.dtype == dtype
    # Compositions round after each part.
    torch.testing.assert_close(half.float(), full, rtol=0.03, atol=0.03)
    biggest = torch.full(shape, min(torch.finfo(dtype).max / 4, 1e30), dtype=dtype)
    assert torch.isfinite(augment(biggest, _generator())).all()


def test_half_types_saturate() -> None:
    out = Rescaling(0.5)(torch.full((40, 2, 3), 60_000.0, dtype=torch.float16), _generator())
    assert out.max() == torch.finfo(torch.float16).max


@pytest.mark.parametrize("name", ALL)
def test_autocast_changes_nothing(name: str) -> None:
    augment, shape = ALL[name]
    x = _batch(shape)
    with torch.autocast("cpu", torch.bfloat16):
        under = augment(x, _generator())
    assert torch.equal(under, augment(x, _generator()))


@pytest.mark.parametrize("name", WITH_SHARE)
def test_other_devices_change_the_same_rows_and_never_wait(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are computed there; tensors without values refuse whatever would have to read one."""
    make, shape = WITH_SHARE[name]
    x = _batch(shape)
    expected = make(0.6)(x, _generator())
    for module in (augmentation, ecg_spectrum):
        monkeypatch.setattr(module, "change_rows", augmentation.change_all_rows)
    torch.testing.assert_close(make(0.6)(x, _generator()), expected, rtol=0, atol=2e-6)
    one = make(1.0)
    if isinstance(one, PerRecording):
        draws = [draw.to("meta") for draw in one.draw(x, _generator())]
        assert one.change(x.to("meta"), *draws).shape == x.shape


@pytest.mark.parametrize(
    "make",
    [
        lambda: FourierSurrogate(0.1, 1.2),
        lambda: FrequencyShift((2.0, -2.0)),
        lambda: FrequencyShift((0.0, 300.0)),
        lambda: FrequencyShift(sampling_rate=0.0),
        lambda: SpecAugment(1.5),
        lambda: SpecAugment(n_fft=2),
        lambda: SpecAugment(n_fft=600)(torch.zeros(1, 2, 300), _generator()),
        lambda: CropResize((0.0, 1.0)),
        lambda: CropResize((0.5, 1.5)),
        lambda: TimeFlip(-0.1),
        lambda: TimeShift(-1.0),
        lambda: SegmentPermutation(0),
        lambda: Undersampling(0),
        lambda: TimeMasking(2.0),
        lambda: TimeMasking(seconds=0.0),
        lambda: GaussianNoise(float("inf")),
        lambda: Powerline(frequencies=[50.0, 250.0]),
        lambda: Powerline(frequencies=[]),
        lambda: Powerline((0.2, 0.1)),
        lambda: Powerline(harmonics=0),
        lambda: BaselineWander((-0.1, 0.1)),
        lambda: BaselineWander(frequencies=(0.1, 251.0)),
        lambda: BaselineWander(waves=0),
        lambda: Gamma(-1.0),
        lambda: GaussianBlur((0.5, float("nan"))),
        lambda: ImageNoise(-1.0),
        lambda: LeadDropout(1.1),
        lambda: Sometimes(TimeFlip(), 2.0),
        lambda: Compose(["TimeFlip"]),
        lambda: OneOf([]),
        lambda: OneOf([TimeFlip()], [1.0, 2.0]),
        lambda: OneOf([TimeFlip()], [0.0]),
        lambda: OneOf([TimeFlip()], [-1.0]),
    ],
)
def test_refusals(make: Callable[[], object]) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
