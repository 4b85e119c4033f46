"""The latent cardiac state of every subject: what both the ECG and the cine of the synthetic cohort are drawn from.

``sample_states`` draws a whole cohort at once. The heart itself is drawn in ``heart``, the 82 phenotype columns (true
and as measured) are laid out in ``measurement``; how the state shapes the ECG stands in ``links``.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ecgcmr.synthesis.heart import (
    Anatomy,
    Body,
    Chambers,
    Disease,
    sample_anatomy,
    sample_body,
    sample_chambers,
    sample_disease,
)
from ecgcmr.synthesis.measurement import lay_out_phenotypes, observe_phenotypes

ECG_VARIATION = 28
"""Standard normal numbers per subject: electrical variation that the heart's shape and function do not explain."""

HEART_POSITION_SD = (11.0, 11.0, 11.0)
"""SD of the turn of the heart in the chest about the left-right, head-foot and front-back axis, deg (assumption)."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """How one subject's ECG was taken: nuisance that says nothing about the heart.

    Attributes:
        habitus_gain: (N,) factor of the chest between heart and skin; falls with body mass index.
        heart_rotation: (N, 3) rotation of the heart in the chest about the left-right, head-foot and front-back axis,
            degrees.
        electrode_shift: (N, 6, 2) misplacement of V1-V6 along the row of electrodes (in electrode distances) and
            upwards (in intercostal spaces).
        variation: (N, ECG_VARIATION) standard normal numbers used by ``links``.
        purkinje: (N, 2, 19) standard normal numbers: how the network of Purkinje fibres differs between subjects in
            time and strength of activation of the 16 LV segments and three RV parts.
        repolarisation: (N, 2, 3) standard normal numbers: direction of the two halves of the T wave.
    """

    habitus_gain: np.ndarray
    heart_rotation: np.ndarray
    electrode_shift: np.ndarray
    variation: np.ndarray
    purkinje: np.ndarray
    repolarisation: np.ndarray


@dataclasses.dataclass(frozen=True)
class CardiacState:
    """The latent state of N subjects; every array has N as its first axis.

    Attributes:
        body: Age, sex, size, pressure, heart rate.
        disease: Severities and conduction.
        chambers: Volumes, mass, aorta.
        anatomy: Wall thickness and strain by AHA segment.
        recording: Nuisance of the ECG.
        phenotypes: (N, 82) true phenotypes in column order.
        observed_phenotypes: (N, 82) as measured, NaN where missing.
    """

    body: Body
    disease: Disease
    chambers: Chambers
    anatomy: Anatomy
    recording: Recording
    phenotypes: np.ndarray
    observed_phenotypes: np.ndarray

    def __len__(self) -> int:
        return len(self.phenotypes)

    def take(self, rows: np.ndarray | slice) -> CardiacState:
        """Return the state of some subjects only, in the order of ``rows`` (integers, a mask or a slice)."""
        return _take(self, rows)


def _take(part: Any, rows: np.ndarray | slice) -> Any:
    """Index an array, or every array of a nested struct, along the first axis."""
    if isinstance(part, np.ndarray):
        return part[rows]
    return type(part)(**{field.name: _take(getattr(part, field.name), rows) for field in dataclasses.fields(part)})


def sample_states(n: int, seed: int) -> CardiacState:
    """Draw the latent state of a cohort.

    Args:
        n: Number of subjects, at least 1.
        seed: Seed of the cohort, not negative; each part has a stream of its own derived from it.

    Returns:
        The state of ``n`` subjects. The same ``n`` and ``seed`` give the same numbers.

    Raises:
        ValueError: If ``n`` is below 1 or ``seed`` is negative.
    """
    if n < 1 or seed < 0:
        raise ValueError(f"need at least one subject and a seed that is not negative, got n={n}, seed={seed}")
    streams = [np.random.default_rng([seed, part]) for part in range(6)]
    body = sample_body(n, streams[0])
    disease = sample_disease(body, streams[1])
    body = dataclasses.replace(body, heart_rate=_heart_rate(body, disease, streams[0]))
    chambers = sample_chambers(body, disease, streams[2])
    anatomy = sample_anatomy(disease, chambers, streams[3])
    phenotypes = lay_out_phenotypes(body, chambers, anatomy)
    return CardiacState(
        body=body,
        disease=disease,
        chambers=chambers,
        anatomy=anatomy,
        recording=_sample_recording(body, streams[4]),
        phenotypes=phenotypes,
        observed_phenotypes=observe_phenotypes(phenotypes, body.heart_rate, streams[5]),
    )


def _heart_rate(body: Body, disease: Disease, generator: np.random.Generator) -> np.ndarray:
    """Resting heart rate, beats per minute: faster with disease, slower with training."""
    rate = 62.5 + 2.0 * (1 - body.sex) + 0.25 * (body.bmi - 26.5) + 8.5 * generator.standard_normal(len(body.age))
    rate += 10.0 * disease.dilated + 5.0 * disease.rv_overload + 4.0 * disease.diabetes - 9.0 * disease.athletic
    rate += 13.0 * disease.atrial_fibrillation
    return np.clip(rate, 42.0, 120.0)


def _sample_recording(body: Body, generator: np.random.Generator) -> Recording:
    n = len(body.age)
    # A thicker chest wall and a larger distance between heart and electrodes lower all voltages.
    gain = np.exp(-0.018 * (body.bmi - 26.5) + 0.20 * generator.standard_normal(n))
    rotation = generator.standard_normal((n, 3)) * np.array(HEART_POSITION_SD)
    # A stout habitus lifts the diaphragm and lays the heart more horizontally (turn about the front-back axis).
    rotation[:, 2] -= 0.9 * np.clip(body.bmi - 26.5, -8, 12)
    # A technician misses the row as a whole as well as single positions; V1 and V2 tend to be placed too high.
    shift = 0.22 * generator.standard_normal((n, 1, 2)) + 0.16 * generator.standard_normal((n, 6, 2))
    shift[:, :2, 1] += 0.25
    normal = generator.standard_normal
    return Recording(gain, rotation, shift, normal((n, ECG_VARIATION)), normal((n, 2, 19)), normal((n, 2, 3)))
