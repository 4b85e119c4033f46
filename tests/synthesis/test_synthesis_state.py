"""The latent state: plausible hearts, correlations, missing values, determinism."""

from __future__ import annotations

import numpy as np
import pytest

from ecgcmr.phenotypes import names_of_groups, phenotypes
from ecgcmr.synthesis.state import CardiacState, sample_states

COLUMN = {phenotype.name: k for k, phenotype in enumerate(phenotypes())}


@pytest.fixture(scope="module")
def state() -> CardiacState:
    return sample_states(6000, 5)


def test_same_seed_same_state_and_other_seed_another() -> None:
    first, again, other = sample_states(50, 3), sample_states(50, 3), sample_states(50, 4)
    np.testing.assert_array_equal(first.observed_phenotypes, again.observed_phenotypes)
    np.testing.assert_array_equal(first.recording.purkinje, again.recording.purkinje)
    assert not np.allclose(first.phenotypes, other.phenotypes)


@pytest.mark.parametrize(("n", "seed"), [(0, 1), (5, -1)])
def test_impossible_cohorts_are_refused(n: int, seed: int) -> None:
    with pytest.raises(ValueError, match="at least one subject"):
        sample_states(n, seed)


def test_all_phenotypes_lie_inside_their_plausible_ranges(state: CardiacState) -> None:
    low = np.array([phenotype.low for phenotype in phenotypes()])
    high = np.array([phenotype.high for phenotype in phenotypes()])
    assert state.phenotypes.shape == (6000, 82)
    assert np.isfinite(state.phenotypes).all()
    for table in (state.phenotypes, state.observed_phenotypes):
        known = np.isfinite(table)
        assert (known <= ((table >= low) & (table <= high))).all()
    # Ranges must not be what makes them plausible.
    assert np.mean((state.phenotypes == low) | (state.phenotypes == high)) < 1e-3


@pytest.mark.parametrize(
    ("name", "men", "women"),
    [  # Petersen et al. 2017, healthy: mean and SD; the cohort holds disease, hence the generous margins.
        ("lv_edv", (166, 32), (124, 21)),
        ("lv_mass", (103, 21), (70, 13)),
        ("rv_edv", (182, 36), (130, 24)),
        ("lv_ef", (58, 5), (61, 5)),
        ("rv_ef", (54, 6), (58, 6)),
    ],
)
def test_means_and_spreads_are_near_reference_values(
    state: CardiacState, name: str, men: tuple[float, float], women: tuple[float, float]
) -> None:
    for sex, (mean, spread) in ((1, men), (0, women)):
        values = state.observed_phenotypes[state.body.sex == sex, COLUMN[name]]
        assert abs(np.nanmean(values) - mean) < 0.5 * spread
        assert 0.8 * spread < np.nanstd(values) < 1.8 * spread


def test_derived_columns_agree_with_their_definition(state: CardiacState) -> None:
    table = state.observed_phenotypes
    get = {name: table[:, column] for name, column in COLUMN.items()}
    known = np.isfinite(table[:, :10]).all(1)
    assert known.mean() > 0.9
    np.testing.assert_allclose(get["lv_sv"][known], (get["lv_edv"] - get["lv_esv"])[known])
    np.testing.assert_allclose(get["rv_ef"][known], (100 * get["rv_sv"] / get["rv_edv"])[known])
    true = state.phenotypes
    np.testing.assert_allclose(true[:, COLUMN["lv_co"]], true[:, COLUMN["lv_sv"]] * state.body.heart_rate / 1000)
    for group in ("WT", "Ecc", "Err", "Ell"):
        *segments, mean = (COLUMN[name] for name in names_of_groups(group))
        np.testing.assert_allclose(true[:, mean], true[:, segments].mean(1))


def test_measurement_adds_noise_and_gaps(state: CardiacState) -> None:
    missing = np.isnan(state.observed_phenotypes)
    assert 0.01 < missing.mean() < 0.08
    aorta = [COLUMN[name] for name in names_of_groups("aorta")]
    assert 0.04 < missing[:, aorta].all(1).mean() < 0.08  # a group is lost as a whole
    known = ~missing[:, 0]
    relative = state.observed_phenotypes[known, 0] / state.phenotypes[known, 0] - 1
    assert 0.02 < relative.std() < 0.04


def test_physiology_links_the_parts_of_the_heart(state: CardiacState) -> None:
    true = {name: state.phenotypes[:, column] for name, column in COLUMN.items()}

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a, b)[0, 1])

    assert correlation(true["lv_edv"], true["rv_edv"]) > 0.6
    assert correlation(true["lv_mass"], true["wt_global"]) > 0.6
    assert correlation(true["ecc_global"], true["lv_ef"]) < -0.6
    assert correlation(true["asc_aorta_distensibility"], state.body.age) < -0.3
    fibrillating = state.disease.atrial_fibrillation
    assert true["la_max_volume"][fibrillating].mean() > 1.3 * true["la_max_volume"][~fibrillating].mean()


def test_scar_thins_and_stills_its_own_segments(state: CardiacState) -> None:
    scarred = state.disease.scar > 0.5
    assert 0.005 < scarred.mean() < 0.1
    ill = scarred.any(1)
    far = ill[:, None] & (state.disease.scar == 0)
    relative = state.anatomy.wall_thickness / np.median(state.anatomy.wall_thickness, 1, keepdims=True)
    assert relative[scarred].mean() < 0.85 * relative[far].mean()
    assert (
        np.abs(state.anatomy.circumferential_strain[scarred]).mean()
        < 0.6 * np.abs(state.anatomy.circumferential_strain[far]).mean()
    )


def test_taking_subjects_keeps_every_field_together(state: CardiacState) -> None:
    rows = np.array([7, 3, 11])
    part = state.take(rows)
    assert len(part) == 3
    np.testing.assert_array_equal(part.phenotypes, state.phenotypes[rows])
    np.testing.assert_array_equal(part.disease.scar, state.disease.scar[rows])
    np.testing.assert_array_equal(part.recording.electrode_shift, state.recording.electrode_shift[rows])
