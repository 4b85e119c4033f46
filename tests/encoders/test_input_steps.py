"""Every step of a published encoder's input, against SciPy and NumPy on one recording, and as a part of a network."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.signal
import torch

from ecgcmr.encoders.published.adapter import InputAdapter
from ecgcmr.encoders.published.input_steps import (
    Butterworth,
    Constant,
    Cut,
    Decimate,
    FiniteBand,
    MinusMedian,
    Notch,
    OneRow,
    PickLeads,
    Resample,
    Shape,
    Standardise,
    Stretch,
)
from ecgcmr.encoders.published.input_steps.sliding_median import sliding_median
from ecgcmr.encoders.published.registry import published_encoders
from ecgcmr.errors import UserError
from ecgcmr.leads import LEADS

RATE = 500.0


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).cumsum(axis=-1) / 10


def applied(step, x: np.ndarray, rate: float = RATE) -> np.ndarray:
    operation, after = step.plan(Shape(*x.shape[-2:], rate))
    result = operation(torch.from_numpy(x)).numpy()
    assert result.shape[-2:] == (after.leads, after.samples)
    return result


def butter(order, edges, kind, output):
    return scipy.signal.butter(order, edges, kind, fs=RATE, output=output)


X = draw(3, 1001)
FILTERS = {
    "notch": (Notch(50, 30), lambda: scipy.signal.filtfilt(*scipy.signal.iirnotch(50, 30, fs=RATE), X)),
    "transfer-function": (
        Butterworth(4, 0.67, 40, sections=False),
        lambda: scipy.signal.filtfilt(*butter(4, [0.67, 40], "bandpass", "ba"), X),
    ),
    "high-pass": (
        Butterworth(5, 0.67, None),
        lambda: scipy.signal.sosfiltfilt(butter(5, 0.67, "highpass", "sos"), X),
    ),
    "low-pass": (Butterworth(4, None, 40), lambda: scipy.signal.sosfiltfilt(butter(4, 40, "lowpass", "sos"), X)),
    "finite": (
        FiniteBand(0.05, 47, 0.3),
        lambda: scipy.signal.filtfilt(scipy.signal.firwin(151, [0.05, 47], pass_zero=False, fs=RATE), [1.0], X),
    ),
    "decimate": (Decimate(5), lambda: scipy.signal.decimate(X, 5)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_are_those_of_scipy(name):
    step, wanted = FILTERS[name]
    np.testing.assert_allclose(applied(step, X), wanted(), rtol=0, atol=1e-6 * np.abs(X).max())
    assert str(step)


@pytest.mark.parametrize(("samples", "rate"), [(1000, 250), (1001, 250), (1000, 400), (1000, 1000), (999, 1000)])
def test_resampling_by_the_spectrum_is_that_of_scipy(samples, rate):
    x = draw(2, samples)
    wanted = scipy.signal.resample(x, int(samples * rate / RATE), axis=-1)
    np.testing.assert_allclose(applied(Resample(rate), x), wanted, atol=1e-9)


def test_resampling_along_lines_keeps_both_ends():
    x = draw(2, 1030)
    grid = np.linspace(0, 1029, 1287)
    wanted = np.stack([np.interp(grid, np.arange(1030), row) for row in x])
    np.testing.assert_allclose(applied(Resample(500.0, "linear"), x, 400.0), wanted, atol=1e-9)


@pytest.mark.parametrize("rate", [240.0, 360.0, 1000.0])
def test_a_windowed_sinc_keeps_what_both_rates_hold(rate):
    time = np.arange(2500) / RATE
    wave = np.stack([np.sin(2 * np.pi * 7 * time), np.cos(2 * np.pi * 31 * time)])
    result = applied(Resample(rate, "windowed sinc"), wave)
    time = np.arange(result.shape[1]) / rate
    wanted = np.stack([np.sin(2 * np.pi * 7 * time), np.cos(2 * np.pi * 31 * time)])
    inner = slice(int(rate), -int(rate))
    np.testing.assert_allclose(result[:, inner], wanted[:, inner], atol=1e-4)


def test_a_rate_that_is_there_already_changes_nothing():
    for how in ("Fourier", "linear", "windowed sinc"):
        assert np.array_equal(applied(Resample(RATE, how), X), X)
    with pytest.raises(UserError, match="unknown resampling 'cubic': choose one of Fourier"):
        Resample(RATE, "cubic")


@pytest.mark.parametrize(("samples", "width"), [(400, 201), (37, 9), (50, 201), (5, 3), (1, 1)])
def test_the_sliding_median_is_exact(samples, width):
    x = draw(2, samples).round(1)  # with ties
    padded = np.pad(x, ((0, 0), (width // 2, width // 2)))
    wanted = np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=1), axis=-1)
    given = torch.from_numpy(x)
    assert np.array_equal(sliding_median(given, width).numpy(), wanted)
    by_ranks = sliding_median(given.clone().requires_grad_(), width)  # as on a GPU, and where a gradient is asked for
    assert np.array_equal(by_ranks.detach().numpy(), wanted)


def test_scales():
    assert applied(Standardise(), X).std() == pytest.approx(1)
    by_lead = applied(Standardise("lead"), np.concatenate([X, np.ones((1, 1001))]))
    np.testing.assert_allclose(by_lead.std(axis=1), [1, 1, 1, 0], atol=1e-9)
    stretched = applied(Stretch("lead", -1, 1), X)
    np.testing.assert_allclose((stretched.min(axis=1), stretched.max(axis=1)), [[-1] * 3, [1] * 3], atol=1e-6)
    whole = applied(Stretch("recording", 0, 1), X)
    assert (whole.min(), whole.max()) == (0, pytest.approx(1))
    assert (applied(Stretch("lead", 0, 1), np.ones((1, 9))) == 0).all()  # a flat lead has no scale
    assert (applied(MinusMedian(0.4), np.ones((1, 1001)))[0, 100:-100] == 0).all()


def test_leads_and_pieces():
    x = np.arange(12.0)[:, None] + np.zeros((12, 100))
    assert applied(PickLeads(("II", "aVF", "V6")), x)[:, 0].tolist() == [1, 5, 11]
    pieces = applied(Cut(40, pieces=3), np.arange(100.0)[None])
    assert pieces[:, 0, 0].tolist() == [0, 30, 60]
    row = applied(OneRow(), x)
    assert row.shape == (1, 1200)
    assert row[0, ::100].tolist() == list(range(12))
    with pytest.raises(UserError, match="are picked out of 12 leads, given are 3"):
        PickLeads(("I",)).plan(Shape(3, 10, RATE))
    with pytest.raises(UserError, match="0.02 s are too short for pieces of 0.08 s"):
        Cut(40).plan(Shape(12, 10, RATE))


def test_what_cannot_be_filtered_is_named():
    with pytest.raises(UserError, match="a filter at 50 Hz needs more than 100 Hz, given are 90"):
        Notch(50, 30).plan(Shape(12, 1000, 90.0))
    with pytest.raises(UserError, match="10 samples are too few to filter"):
        Butterworth(5, 0.67, None).plan(Shape(12, 10, RATE))


@pytest.fixture(params=[name for name in published_encoders() if "-1-" not in name], scope="module")
def adapter(request):
    takes = published_encoders()[request.param].takes
    return InputAdapter(takes, round(takes.seconds * RATE), RATE), takes


def test_an_input_is_made_on_the_device_and_recordings_do_not_mix(adapter):
    make, takes = adapter
    x = torch.from_numpy(draw(3, 12, make.samples)).float()
    made = make(x)
    assert made.dtype == torch.float32
    assert made.numel() == 3 * len(takes.leads) * takes.samples
    torch.testing.assert_close(made[1:2], make(x[1:2]), rtol=0, atol=1e-6)
    assert make(x[:0]).shape == (0, *made.shape[1:])
    x.requires_grad_()
    make(x).square().sum().backward()  # for maps of attribution
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad != 0).any()


def test_a_flat_recording_has_an_input_and_a_gradient(adapter):
    make, _ = adapter
    x = torch.zeros(1, 12, make.samples, requires_grad=True)
    made = make(x)
    made.sum().backward()
    assert made.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_an_input_has_the_type_of_the_recordings(adapter):
    make, _ = adapter
    x = torch.from_numpy(draw(1, 12, make.samples)).float()
    rough = make(x.bfloat16())
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - make(x)).norm() < 0.1 * make(x).norm()


def test_an_input_survives_copies_processes_and_half_precision(adapter):
    make, _ = adapter
    x = torch.from_numpy(draw(1, 12, make.samples)).float()
    wanted = make(x)
    for other in (copy.deepcopy(make), pickle.loads(pickle.dumps(make))):
        torch.testing.assert_close(other(x), wanted, rtol=0, atol=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(make(x), wanted, rtol=0, atol=0)


def test_constants_keep_their_precision():
    constant = Constant(np.array([1 / 3]))
    assert constant.on(torch.device("cpu")).item() == 1 / 3
    assert constant.on(torch.device("cpu")) is constant.on(torch.device("cpu"))
    assert pickle.loads(pickle.dumps(constant)).values == 1 / 3


def test_recordings_of_other_lengths_are_refused_with_the_number():
    takes = published_encoders()["merl-resnet18"].takes
    assert takes.leads == ("I", "II", "III", "aVR", "aVF", "aVL", *LEADS[6:])
    fixed = takes.variant(samples=5000)
    with pytest.raises(UserError, match="takes whole recordings"):
        InputAdapter(fixed, 5000, RATE, pieces=2)
