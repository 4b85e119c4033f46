"""Frequency shift, SpecAugment, power line and wander: spectra whose answer is known, and slow NumPy twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ecgcmr.augmentations import BaselineWander, FourierSurrogate, FrequencyShift, GaussianNoise, Powerline, SpecAugment


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _signal(batch: int = 3, leads: int = 2, samples: int = 301, seed: int = 5) -> torch.Tensor:
    return torch.randn(batch, leads, samples, generator=_generator(seed), dtype=torch.float64)


def _power(x: torch.Tensor, rate: float = 500.0) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and the power at each, of a windowed signal (..., samples)."""
    values = x.double().numpy()
    spectrum = np.fft.rfft(values * np.blackman(values.shape[-1]))
    return np.fft.rfftfreq(values.shape[-1], 1.0 / rate), np.abs(spectrum) ** 2


def test_surrogate_per_lead_turns_each_lead_by_itself() -> None:
    x = _signal(4, 1).expand(-1, 3, -1).contiguous()
    out = FourierSurrogate(0.3, 1.0, per_lead=True)(x, _generator())
    assert (out[:, 0] - out[:, 1]).abs().max() > 0.1
    torch.testing.assert_close(torch.fft.rfft(out).abs(), torch.fft.rfft(x).abs())


@pytest.mark.parametrize("samples", [256, 301])
def test_frequency_shift_is_the_published_one(samples: int) -> None:
    x = _signal(samples=samples)
    draws = torch.tensor([[0.0], [0.5], [0.9]], dtype=torch.float64)
    out = FrequencyShift((-3.0, 5.0), 250.0).change(x, draws).numpy()
    padded = 2 ** int(np.ceil(np.log2(samples)))
    gain = np.zeros(padded)
    gain[[0, padded // 2]], gain[1 : padded // 2] = 1.0, 2.0
    for row, twin, draw in zip(out, x.numpy(), draws.numpy()[:, 0], strict=True):
        analytic = np.fft.ifft(np.fft.fft(twin, n=padded) * gain)
        turned = analytic * np.exp(2j * np.pi * (-3.0 + 8.0 * draw) * np.arange(padded) / 250.0)
        np.testing.assert_allclose(row, turned.real[:, :samples], rtol=0, atol=1e-10)


@pytest.mark.parametrize("shift", [-7.0, 0.0, 12.0])
def test_frequency_shift_moves_a_sine_by_the_amount(shift: float) -> None:
    sine = torch.sin(2 * torch.pi * 40.0 * torch.arange(2500) / 500.0).expand(2, 12, -1).contiguous()
    frequency, power = _power(FrequencyShift((shift, shift), probability=1.0)(sine, _generator()))
    np.testing.assert_allclose(frequency[power.argmax(-1)], 40.0 + shift, atol=0.01)


def _spectrogram(x: np.ndarray, n_fft: int) -> np.ndarray:
    padded = np.pad(x, n_fft // 2, mode="reflect")
    return np.array([np.fft.rfft(padded[k : k + n_fft]) for k in range(0, len(padded) - n_fft + 1, n_fft // 4)])


def _overlap_add(frames: np.ndarray, n_fft: int, samples: int) -> np.ndarray:
    length = n_fft + n_fft // 4 * (len(frames) - 1)
    total, weight = np.zeros(length), np.zeros(length)
    for number, frame in enumerate(frames):
        place = slice(number * (n_fft // 4), number * (n_fft // 4) + n_fft)
        total[place] += np.fft.irfft(frame, n=n_fft)
        weight[place] += 1.0
    return (total / np.maximum(weight, 1.0))[n_fft // 2 : n_fft // 2 + samples]


@pytest.mark.parametrize(("samples", "n_fft"), [(301, 40), (250, 120)])
@pytest.mark.parametrize(("kind", "start"), [(0.2, 0.0), (0.2, 0.6), (0.7, 0.3), (0.7, 0.99)])
def test_spec_augment_blanks_the_block_of_a_slow_twin(samples: int, n_fft: int, kind: float, start: float) -> None:
    x = _signal(1, 2, samples)
    out = SpecAugment(0.25, n_fft).change(x, torch.tensor([[kind, start]], dtype=torch.float64))
    for lead, twin in zip(out[0].numpy(), x[0].numpy(), strict=True):
        frames = _spectrogram(twin, n_fft)  # (times, frequencies)
        axis = 1 if kind < 0.5 else 0
        length = int(frames.shape[axis] * 0.25)
        first = int(start * (frames.shape[axis] - length + 1))
        frames[(slice(None), slice(first, first + length))[-axis - 1 :] if axis else slice(first, first + length)] = 0.0
        np.testing.assert_allclose(lead, _overlap_add(frames, n_fft, samples), rtol=0, atol=1e-10)


def test_spec_augment_leaves_a_band_silent_or_a_time_flat() -> None:
    x = torch.randn(60, 2, 2500, generator=_generator())
    out = SpecAugment(0.25, probability=1.0)(x, _generator(1))
    flat = (out == 0.0).all(dim=1)  # samples that only blanked windows cover
    silent = []
    for before, after in zip(x, out, strict=True):
        ratio = _power(after)[1].sum(0) / _power(before)[1].sum(0)
        smooth = np.convolve(ratio, np.ones(100) / 100, mode="valid")
        silent.append(bool(smooth.min() < 0.05))
    in_time = (flat.sum(dim=1) > 400).numpy()
    assert (in_time ^ np.array(silent)).all()
    assert 0.25 < in_time.mean() < 0.75
    torch.testing.assert_close(SpecAugment(0.0, probability=1.0)(x, _generator()), x, rtol=0, atol=1e-4)


def test_powerline_has_its_lines_and_nothing_else() -> None:
    silence = torch.zeros(60, 12, 2500)
    out = Powerline((0.1, 0.2), probability=1.0)(silence, _generator())
    frequency, power = _power(out)
    mains = frequency[power.sum(1).argmax(-1)]
    assert set(mains.round(6)) == {50.0, 60.0}
    assert 0.25 < (mains == 50.0).mean() < 0.75
    lines = np.abs(frequency - mains[:, None] * np.arange(1, 4)[:, None, None]).min(0) < 1.0
    assert (power.sum(1) * ~lines).sum() < 1e-6 * power.sum()
    peaks = [power[np.arange(60), :, np.searchsorted(frequency, h * mains - 1e-6)].sum(1) for h in (1, 2, 3)]
    np.testing.assert_allclose(peaks[0] / peaks[1], 4.0, rtol=1e-3)
    np.testing.assert_allclose(peaks[0] / peaks[2], 9.0, rtol=1e-3)
    strongest = out.abs().amax(dim=(1, 2))
    assert strongest.max() < 0.2 * (1 + 1 / 2 + 1 / 3)
    assert strongest.min() > 0.05


def test_powerline_twin_and_nyquist() -> None:
    augmentation = Powerline((0.5, 0.5), [60.0], harmonics=4, sampling_rate=400.0)
    x = _signal(2, 3)
    settings, phases, gains = (torch.rand(2, n, generator=_generator(n), dtype=torch.float64) for n in (2, 4, 3))
    out = augmentation.change(x, settings, phases, gains).numpy()
    time = np.arange(301) / 400.0
    for row in range(2):
        # The fourth harmonic, 240 Hz, is above half the sampling rate.
        hum = sum(0.5 / h * np.sin(2 * np.pi * (60 * h * time + phases[row, h - 1].item())) for h in (1, 2, 3))
        expected = x[row].numpy() + (2 * gains[row].numpy()[:, None] - 1) * hum
        np.testing.assert_allclose(out[row], expected, rtol=0, atol=1e-10)


def test_wander_is_slow_and_as_strong_as_asked() -> None:
    augmentation = BaselineWander((0.3, 0.3), probability=1.0)
    out = augmentation(torch.zeros(40, 12, 20_000), _generator())
    frequency, power = _power(out)
    assert power[..., frequency > 1.0].sum() < 1e-6 * power.sum()
    assert power[..., frequency > 0.55].sum() < 1e-3 * power.sum()
    assert out.square().mean().sqrt().item() == pytest.approx(0.3, rel=0.1)
    assert (torch.corrcoef(out[0]) - torch.eye(12)).abs().max() < 0.999  # leads go their own ways


def test_wander_twin() -> None:
    augmentation = BaselineWander((0.1, 0.4), (0.05, 0.5), waves=2, sampling_rate=100.0)
    x = _signal(2, 3)
    settings = torch.rand(2, 3, generator=_generator(), dtype=torch.float64)
    weights = torch.randn(2, 3, 4, generator=_generator(1), dtype=torch.float64)
    out = augmentation.change(x, settings, weights).numpy()
    time = np.arange(301) / 100.0
    for row in range(2):
        amplitude, *frequencies = settings[row].tolist()
        for lead in range(3):
            expected = x[row, lead].numpy().copy()
            for wave, draw in enumerate(frequencies):
                angle = 2 * np.pi * (0.05 + 0.45 * draw) * time
                cosine, sine = weights[row, lead, wave].item(), weights[row, lead, 2 + wave].item()
                wander = cosine * np.cos(angle) + sine * np.sin(angle)
                expected += (0.1 + 0.3 * amplitude) / 2**0.5 * wander
            np.testing.assert_allclose(out[row, lead], expected, rtol=0, atol=1e-10)


def test_noise_is_white_and_as_strong_as_asked() -> None:
    x = _signal(4, 3, 4000).float()
    noise = GaussianNoise(0.2, 1.0)(x, _generator()) - x
    assert noise.std().item() == pytest.approx(0.2, rel=0.02)
    assert (torch.corrcoef(noise.flatten(0, 1)) - torch.eye(12)).abs().max() < 0.1
