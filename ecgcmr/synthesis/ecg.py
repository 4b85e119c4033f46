"""Rendering twelve-lead ECGs of a cohort: beats placed in time, seen through the lead field, with a recorder's noise.

Every subject has a random stream of its own, derived from the generator's seed and the subject's row, so the result
does not depend on which other subjects are rendered with it or in what order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecgcmr.synthesis.dipole import FIBRILLATION_VECTOR, Beats, heartbeats
from ecgcmr.synthesis.leads import TWELVE_FROM_EIGHT, TWELVE_FROM_ELECTRODES
from ecgcmr.synthesis.rhythm import Rhythm, sample_rhythm
from ecgcmr.synthesis.state import CardiacState

SAMPLING_RATE = 500
SAMPLES = 5000
DURATION = SAMPLES / SAMPLING_RATE
BLOCK = 64
"""Subjects rendered together; bounds memory, changes no result."""

TEMPLATE_START, TEMPLATE_END, TEMPLATE_RATE = -0.40, 0.66, 1000
"""Span (s, around a beat's time 0) and sampling rate (Hz) of the noise-free beat before it is placed."""
QRS_END = 0.08
"""After this time (s) a beat is stretched with the cube root of the RR interval before it (Fridericia's rule)."""

KNOTS = 13
MAINS_HZ = 50.0


def beat_template(beats: Beats, times: np.ndarray) -> np.ndarray:
    """Return the noise-free dipole (N, 3, len(times)) in mV at ``times`` (s, relative to a beat's time 0)."""
    shape = wave_shapes(beats, times, slice(None))
    return np.matmul(beats.amplitude.transpose(0, 2, 1).astype(np.float32), shape)


def wave_shapes(beats: Beats, times: np.ndarray, waves: slice) -> np.ndarray:
    """Return the course (N, W, len(times)) float32 of some Gaussians of the beats, 1 at their centres."""
    distance = times.astype(np.float32) - beats.centre[:, waves, None].astype(np.float32)
    width = np.where(distance < 0, beats.rise[:, waves, None], beats.fall[:, waves, None]).astype(np.float32)
    return np.exp(-0.5 * (distance / width) ** 2)


def stretch_of_beats(rhythm: Rhythm, heart_rate: float) -> np.ndarray:
    """Return (B,) by how much beats are stretched after ``QRS_END``: the cube root of their RR over the mean one."""
    return np.cbrt(rhythm.preceding * heart_rate / 60)


def subject_generator(generator: np.random.Generator, row: int, purpose: int = 0) -> np.random.Generator:
    """Return the stream of one subject: a function of the generator's seed and the row, of nothing else.

    The generator itself is not advanced.
    """
    seed = generator.bit_generator.seed_seq
    if not isinstance(seed, np.random.SeedSequence):
        raise ValueError("the generator must come from numpy.random.default_rng(seed)")
    child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, int(row), purpose))
    return np.random.Generator(np.random.PCG64(child))


def draw_rhythms(part: CardiacState, rows: np.ndarray, generator: np.random.Generator, beats: Beats) -> list[Rhythm]:
    """Return where the beats of some subjects lie, whose state and beats stand in the order of ``rows``."""
    return [
        sample_rhythm(
            float(part.body.heart_rate[k]),
            bool(part.disease.atrial_fibrillation[k]),
            float(beats.parameters["sinus_arrhythmia"][k]),
            DURATION,
            subject_generator(generator, row, purpose=0),
        )
        for k, row in enumerate(rows)
    ]


def render_ecgs(
    state: CardiacState, rows: Sequence[int] | np.ndarray, generator: np.random.Generator, *, noise: float = 1.0
) -> np.ndarray:
    """Render the ECGs of some subjects.

    Args:
        state: The cohort.
        rows: Integers, the subjects to render.
        generator: Made by ``numpy.random.default_rng(seed)``; it is read, not advanced, see ``subject_generator``.
        noise: Factor of the recorder's noise; 0 gives the noise-free signal.

    Returns:
        (len(rows), 12, 5000) float32 microvolts at 500 Hz, leads I II III aVR aVL aVF V1-V6.
    """
    rows = np.asarray(rows, dtype=np.int64)
    ecgs = np.empty((len(rows), 12, SAMPLES), dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        part = state.take(block)
        beats = heartbeats(part)
        rhythms = draw_rhythms(part, block, generator, beats)
        dipole = _place_beats(beats, rhythms, part.body.heart_rate)
        _add_fibrillation(dipole, part, block, beats, generator)
        leads = (TWELVE_FROM_EIGHT @ beats.field).astype(np.float32)
        out = ecgs[start : start + len(block)]
        np.matmul(leads, dipole, out=out)
        out *= 1000.0
        for k, row in enumerate(block):
            if noise > 0:
                recorded = recorder_noise(rhythms[k].respiration, subject_generator(generator, row, purpose=2))
                out[k] += np.float32(noise) * recorded
    return ecgs


def _place_beats(beats: Beats, rhythms: list[Rhythm], heart_rate: np.ndarray) -> np.ndarray:
    """Add up the beats of a block at their times; returns the dipole (n, 3, SAMPLES) in mV."""
    n = len(rhythms)
    grid = np.arange(round((TEMPLATE_END - TEMPLATE_START) * TEMPLATE_RATE) + 1) / TEMPLATE_RATE + TEMPLATE_START
    template = beat_template(beats, grid)
    count = max(len(rhythm.r_times) for rhythm in rhythms)
    times = np.full((n, count), 1e3)
    stretch = np.ones((n, count))
    strength = np.ones((n, count))
    for k, rhythm in enumerate(rhythms):
        found = slice(0, len(rhythm.r_times))
        times[k, found] = rhythm.r_times
        stretch[k, found] = stretch_of_beats(rhythm, heart_rate[k])
        frequency, phase = rhythm.respiration
        # Breathing moves the heart towards and away from the electrodes.
        strength[k, found] = 1 + 0.03 * np.sin(2 * np.pi * frequency * rhythm.r_times + phase)
    margin = int(2.5 * SAMPLING_RATE)
    dipole = np.zeros((n, 3, SAMPLES + 2 * margin), dtype=np.float32)
    length = int(1.15 * (TEMPLATE_END - TEMPLATE_START) * SAMPLING_RATE)
    subject = np.arange(n)[:, None, None]
    axis = np.arange(3)[None, :, None]
    for beat in range(count):
        first = np.ceil((times[:, beat] + TEMPLATE_START) * SAMPLING_RATE).astype(np.int64)
        sample = np.clip(first, -margin, SAMPLES + margin - length)[:, None] + np.arange(length)
        ahead = sample / SAMPLING_RATE - times[:, beat, None]
        after = np.maximum(ahead - QRS_END, 0)
        position = (ahead - after + after / stretch[:, beat, None] - TEMPLATE_START) * TEMPLATE_RATE
        inside = (position >= 0) & (position < template.shape[2] - 1)
        below = np.where(inside, position, 0).astype(np.int64)
        share = ((position - below) * inside).astype(np.float32)[:, None]
        at = below[:, None]
        value = np.take_along_axis(template, at, 2) * (1 - share) + np.take_along_axis(template, at + 1, 2) * share
        value *= (inside * strength[:, beat, None]).astype(np.float32)[:, None]
        dipole[subject, axis, (sample + margin)[:, None]] += value
    return dipole[:, :, margin : margin + SAMPLES]


def _add_fibrillation(
    dipole: np.ndarray, part: CardiacState, rows: np.ndarray, beats: Beats, generator: np.random.Generator
) -> None:
    """Add, in place, the fibrillatory waves of subjects in atrial fibrillation.

    A sawtooth of two harmonics whose frequency and amplitude wander slowly (after Stridh and Sornmo, IEEE Trans Biomed
    Eng 2001), strongest in V1.
    """
    time = np.arange(SAMPLES) / SAMPLING_RATE
    for k in np.flatnonzero(part.disease.atrial_fibrillation):
        own = subject_generator(generator, rows[k], purpose=1)
        phase = own.uniform(0, 2 * np.pi, 6)
        drift = 0.6 * np.sin(2 * np.pi * own.uniform(0.1, 0.3) * time + phase[0])
        angle = 2 * np.pi * beats.parameters["fibrillation_rate"][k] * time + drift + phase[1]
        envelope = 1 + 0.35 * np.sin(2 * np.pi * own.uniform(0.15, 0.5) * time + phase[2])
        height = beats.parameters["fibrillation_wave"][k] * envelope
        for harmonic, weight in ((1, 1.0), (2, 0.45), (3, 0.2)):
            direction = FIBRILLATION_VECTOR + 0.15 * own.standard_normal(3)
            wave = weight * height * np.sin(harmonic * angle + phase[2 + harmonic] * (harmonic > 1))
            dipole[k] += (direction[:, None] * wave).astype(np.float32)


def recorder_noise(respiration: tuple[float, float], generator: np.random.Generator) -> np.ndarray:
    """Return (12, SAMPLES) float32 microvolts of noise of one recording.

    Nine electrodes each have baseline wander (breathing and slow drift of the contact), muscle noise that comes in
    bursts, white amplifier noise and pick-up of the mains; the leads mix them as electrode potentials, so Einthoven's
    law holds for the noise too. Levels are assumptions, lognormal between recordings.
    """
    time = np.arange(SAMPLES, dtype=np.float32) / SAMPLING_RATE
    level = np.exp(0.5 * generator.standard_normal(4))
    electrode = np.exp(0.4 * generator.standard_normal((9, 1))).astype(np.float32)

    noise = generator.standard_normal((9, SAMPLES), dtype=np.float32)
    muscle = noise - 0.75 * np.roll(noise, 1, axis=1)
    burst = _smooth(np.exp(0.6 * generator.standard_normal((9, KNOTS))))
    noise *= np.float32(2.0)
    noise += muscle * burst * electrode * np.float32(7.0 * level[0])

    frequency, phase = respiration
    breath = np.sin(2 * np.pi * frequency * time + phase + 0.5).astype(np.float32)
    noise += breath * (generator.standard_normal((9, 1)) * 25.0 * level[1]).astype(np.float32)
    drift = np.cumsum(generator.standard_normal((9, KNOTS)), axis=1)
    noise += _smooth(drift * 22.0 * level[2])

    pick_up = 2.5 * level[3] * np.exp(0.6 * generator.standard_normal((9, 1)))
    mains = MAINS_HZ + 0.03 * generator.standard_normal()
    shift = generator.uniform(0, 2 * np.pi) + 0.4 * generator.standard_normal((9, 1))
    angle = 2 * np.pi * mains * time.astype(np.float64)
    noise += (pick_up * np.cos(shift)).astype(np.float32) * np.sin(angle).astype(np.float32)
    noise += (pick_up * np.sin(shift)).astype(np.float32) * np.cos(angle).astype(np.float32)
    return TWELVE_FROM_ELECTRODES.astype(np.float32) @ noise


def _cosine_interpolation() -> np.ndarray:
    """(KNOTS, SAMPLES) weights that join knots by half cosines: smooth, bounded by the knots."""
    place = np.linspace(0, KNOTS - 1, SAMPLES)
    left = np.minimum(place.astype(np.int64), KNOTS - 2)
    share = 0.5 - 0.5 * np.cos(np.pi * (place - left))
    weights = np.zeros((KNOTS, SAMPLES), dtype=np.float32)
    weights[left, np.arange(SAMPLES)] = 1 - share
    weights[left + 1, np.arange(SAMPLES)] += share
    return weights


_INTERPOLATION = _cosine_interpolation()


def _smooth(knots: np.ndarray) -> np.ndarray:
    return knots.astype(np.float32) @ _INTERPOLATION
