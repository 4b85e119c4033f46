"""The ceiling of the synthetic cohort: how well a phenotype or disease can be told from the ECG at all.

An independent population is drawn from the same generator, far larger than any cohort. A regression of degree two
learns the measured phenotypes from the numbers that the noise-free ECG expresses: timings, rhythm, and the dipole of
each wave as seen through chest and electrodes. Nothing else of the state is used, so a model that sees the recorded
ECG can exceed it only by the (small) error of this fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from ecgcmr.phenotypes import names_of_groups, phenotype_positions
from ecgcmr.synthesis.dipole import FIBRILLATION_VECTOR, VENTRICULAR_WAVES, Beats, heartbeats
from ecgcmr.synthesis.events import CENSORING, DISEASES, FIRST_IMAGING, LAST_IMAGING, sample_onsets
from ecgcmr.synthesis.leads import DOWER, INVERSE_DOWER
from ecgcmr.synthesis.measurement import clip_to_plausible
from ecgcmr.synthesis.state import CardiacState, sample_states

POPULATION = 40_000
"""Subjects of the independent population."""
DIRECTIONS = 20
"""Directions of the features, most telling first, whose squares and products enter the fit."""
RIDGE = 3e-3
"""Ridge penalty per subject on standardised columns."""
LOGISTIC_C = 0.02
"""Inverse penalty of the disease regressions (sklearn's C)."""
QRS_TIMES = np.array([-26.0, -20.0, -14.0, -8.0, -2.0, 4.0, 11.0, 19.0, 28.0]) / 1e3
"""Where the QRS dipole is read, s around the beat's time 0, before scaling with the conduction path."""

_BLOCK = 2_000
_POPULATION_STREAM, _ONSET_STREAM = 7919, 7927
_LIMIT = 6.0
"""Standardised features are limited to this many standard deviations."""


def expressed_features(state: CardiacState) -> np.ndarray:
    """Return (N, F) numbers that the noise-free ECG of each subject expresses.

    They are the log rate, the rhythm, timings and widths of the waves, and the dipole of P, QRS (at nine moments), ST
    and T as reconstructed from the eight independent leads, relative to the size of the QRS complex.
    """
    return np.concatenate([_features(state.take(slice(k, k + _BLOCK))) for k in range(0, len(state), _BLOCK)])


def _features(state: CardiacState) -> np.ndarray:
    beats = heartbeats(state)
    n, p, sinus = len(state), beats.parameters, ~state.disease.atrial_fibrillation
    # What the standard lead field makes of these leads: chest, heart position and electrodes are in it.
    seen = INVERSE_DOWER @ beats.field
    qrs = _ventricular_dipole(beats, seen, QRS_TIMES * p["path"][:, None])
    size = np.sqrt((qrs**2).sum((1, 2)) / len(QRS_TIMES))
    waves = (seen @ beats.amplitude[:, VENTRICULAR_WAVES:].transpose(0, 2, 1)) / size[:, None, None]
    strongest = qrs[np.arange(n), :, np.argmax((qrs**2).sum(1), 1)]
    source = np.linalg.solve(seen, strongest[:, :, None])
    misfit = ((beats.field @ source)[:, :, 0] - strongest @ DOWER.T) / size[:, None]
    flutter = p["fibrillation_wave"] * np.linalg.norm(seen @ FIBRILLATION_VECTOR, axis=1)
    columns = [
        np.log(state.body.heart_rate), ~sinus, state.disease.left_bundle_block, state.disease.right_bundle_block,
        np.log(p["path"]), np.log(p["transmural"]), p["rv_delay"], p["qtc"], np.log(p["t_width"]), np.log(p["t_skew"]),
        p["pr"] * sinus, np.log(p["p_duration"]) * sinus, np.log(p["sinus_arrhythmia"]) * sinus,
        flutter * ~sinus / size, p["fibrillation_rate"] * ~sinus, np.log(size),
    ]  # fmt: skip
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns], 1)
    shapes = [(qrs / size[:, None, None]).reshape(n, -1), waves.reshape(n, -1), misfit[:, 2:]]
    return np.concatenate([table, *shapes], 1)


def _ventricular_dipole(beats: Beats, seen: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return (N, 3, K): the ventricular dipole at times (N, K) of each subject's beat, as the leads show it, mV."""
    waves = slice(0, VENTRICULAR_WAVES)
    distance = times[:, None, :] - beats.centre[:, waves, None]
    width = np.where(distance < 0, beats.rise[:, waves, None], beats.fall[:, waves, None])
    shape = np.exp(-0.5 * (distance / width) ** 2)
    return seen @ (beats.amplitude[:, waves].transpose(0, 2, 1) @ shape)


@dataclass(frozen=True)
class Oracle:
    """A fitted oracle; make it with ``fit_oracle``.

    Attributes:
        centre: (F,) mean of the features in the population.
        spread: (F,) their standard deviation.
        directions: (F, DIRECTIONS) directions whose products enter.
        column_centre: (K,) mean of all columns.
        column_spread: (K,) their standard deviation.
        weights: (K, 82) of the phenotypes.
        offset: (82,) mean phenotypes.
        classifiers: One logistic regression per disease, in the order of ``events.DISEASES``.
    """

    centre: np.ndarray
    spread: np.ndarray
    directions: np.ndarray
    column_centre: np.ndarray
    column_spread: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    classifiers: tuple[LogisticRegression, ...]

    def phenotypes(self, state: CardiacState) -> np.ndarray:
        """Return (N, 82): the best prediction of each measured phenotype, in its unit and plausible range."""
        return clip_to_plausible(self._columns(state) @ self.weights + self.offset)

    def diseases(self, state: CardiacState) -> np.ndarray:
        """Return (N, 3): the probability that CAD, AF, DM are ever recorded (before or after imaging)."""
        columns = self._columns(state)
        return np.stack([classifier.predict_proba(columns)[:, 1] for classifier in self.classifiers], 1)

    def _columns(self, state: CardiacState) -> np.ndarray:
        features = _standardise(expressed_features(state), self.centre, self.spread)
        return ((_degree_two(features, self.directions) - self.column_centre) / self.column_spread).astype(np.float32)


def _standardise(features: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.clip((features - centre) / spread, -_LIMIT, _LIMIT)


def _degree_two(features: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the features, their squares, and all products of the chosen directions."""
    chosen = np.clip(features @ directions, -_LIMIT, _LIMIT)
    i, j = np.triu_indices(directions.shape[1])
    return np.concatenate([features, features**2, chosen[:, i] * chosen[:, j]], 1, dtype=np.float32)


def _ridge(columns: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return weights (K, T) for standardised columns (N, K) and centred targets (N, T) with NaN where missing."""
    known = np.isfinite(targets)
    # A missing target counts as its mean; dividing by the share that is known takes the shrinkage out again.
    cross = columns.T @ np.where(known, targets, 0.0).astype(columns.dtype) / known.sum(0)
    gram = columns.T @ columns / len(columns)
    return np.linalg.solve(gram + RIDGE * np.eye(len(gram)), cross)


def fit_oracle(seed: int, population: int = POPULATION) -> Oracle:
    """Fit the oracle on a population of its own.

    Args:
        seed: Seed of the cohort that will be predicted; the population's own seed is derived from it and differs.
        population: Number of subjects to draw.
    """
    drawn = int(np.random.SeedSequence([seed, _POPULATION_STREAM]).generate_state(1, np.uint64)[0])
    state = sample_states(population, drawn)
    generator = np.random.default_rng([seed, _ONSET_STREAM])
    longest, shortest = (CENSORING - FIRST_IMAGING).days, (CENSORING - LAST_IMAGING).days
    onsets = sample_onsets(state, generator.integers(shortest, longest + 1, population), generator)

    raw = expressed_features(state)
    centre, spread = raw.mean(0), raw.std(0) + 1e-9
    features = _standardise(raw, centre, spread)
    observed = state.observed_phenotypes
    offset, scale = np.nanmean(observed, 0), np.nanstd(observed, 0)
    targets = (observed - offset) / scale
    # Directions that matter for the phenotypes; the ventricles, our main targets, count double.
    emphasis = np.where(np.isin(list(phenotype_positions()), names_of_groups("LV", "RV")), 2.0, 1.0)
    directions = np.linalg.svd(_ridge(features, targets) * emphasis, full_matrices=False)[0][:, :DIRECTIONS]
    directions /= (features @ directions).std(0)

    columns = _degree_two(features, directions)
    column_centre, column_spread = columns.mean(0), columns.std(0) + 1e-6
    columns = (columns - column_centre) / column_spread
    classifiers = tuple(
        LogisticRegression(C=LOGISTIC_C, solver="newton-cholesky").fit(columns, np.isfinite(onsets[:, k]))
        for k in range(len(DISEASES))
    )
    weights = _ridge(columns, targets) * scale
    return Oracle(centre, spread, directions, column_centre, column_spread, weights, offset, classifiers)


def oracle_table(state: CardiacState, seed: int) -> dict[str, np.ndarray]:
    """Return all predictions by name: the 82 phenotypes, then ``cad_ever``, ``af_ever``, ``dm_ever``; each (N,)."""
    oracle = fit_oracle(seed)
    phenotypes, diseases = oracle.phenotypes(state), oracle.diseases(state)
    table = {name: phenotypes[:, k] for name, k in phenotype_positions().items()}
    return table | {f"{name}_ever": diseases[:, k] for k, name in enumerate(DISEASES)}
