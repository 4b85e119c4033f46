"""Drawing bodies, diseases, chambers and walls: the heart of the synthetic cohort.

Means and spreads of healthy ventricles follow reference ranges of UK Biobank (Petersen et al., J Cardiovasc Magn Reson
2017), rounded; sizes of disease effects are assumptions. docs/synthesis.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TERRITORIES = ((0, 1, 6, 7, 12, 13), (2, 3, 8, 9, 14), (4, 5, 10, 11, 15))
"""AHA segments (counted from 0) of the LAD, right and circumflex coronary artery (Cerqueira et al. 2002)."""

MYOCARDIAL_DENSITY = 1.05
"""Grams per millilitre."""


@dataclass(frozen=True)
class Body:
    """Age (years), sex (1 male), size, blood pressure (mmHg) and heart rate (1/min), each (N,)."""

    age: np.ndarray
    sex: np.ndarray
    height_cm: np.ndarray
    weight_kg: np.ndarray
    systolic_pressure: np.ndarray
    diastolic_pressure: np.ndarray
    heart_rate: np.ndarray

    @property
    def bmi(self) -> np.ndarray:
        """Body mass index, kg/m2."""
        return self.weight_kg / (self.height_cm / 100) ** 2

    @property
    def surface_area(self) -> np.ndarray:
        """Body surface area, m2 (Mosteller 1987)."""
        return np.sqrt(self.height_cm * self.weight_kg / 3600)


@dataclass(frozen=True)
class Disease:
    """Severities from 0 (absent) to about 1, flags as bool; each (N,) except ``scar`` (N, 16) in 0..1."""

    hypertensive: np.ndarray
    septal: np.ndarray
    dilated: np.ndarray
    rv_overload: np.ndarray
    athletic: np.ndarray
    scar: np.ndarray
    diabetes: np.ndarray
    af_history: np.ndarray
    atrial_fibrillation: np.ndarray
    left_bundle_block: np.ndarray
    right_bundle_block: np.ndarray

    @property
    def scar_extent(self) -> np.ndarray:
        """Mean scar over the 16 segments, 0..1."""
        return self.scar.mean(1)


@dataclass(frozen=True)
class Chambers:
    """Volumes (mL), mass (g), aortic areas (mm2) and distensibility (1e-3/mmHg), RV pressure (mmHg); each (N,)."""

    lv_edv: np.ndarray
    lv_esv: np.ndarray
    lv_mass: np.ndarray
    rv_edv: np.ndarray
    rv_esv: np.ndarray
    rv_pressure: np.ndarray
    la_max: np.ndarray
    la_min: np.ndarray
    ra_max: np.ndarray
    ra_min: np.ndarray
    ascending_max: np.ndarray
    ascending_min: np.ndarray
    ascending_distensibility: np.ndarray
    descending_max: np.ndarray
    descending_min: np.ndarray
    descending_distensibility: np.ndarray

    @property
    def lv_ef(self) -> np.ndarray:
        """LV ejection fraction, %."""
        return 100 * (1 - self.lv_esv / self.lv_edv)

    @property
    def rv_ef(self) -> np.ndarray:
        """RV ejection fraction, %."""
        return 100 * (1 - self.rv_esv / self.rv_edv)


@dataclass(frozen=True)
class Anatomy:
    """Walls by AHA segment: thickness (N, 16) mm, strains (N, 16), (N, 16), (N, 6) % (negative is shortening)."""

    wall_thickness: np.ndarray
    circumferential_strain: np.ndarray
    radial_strain: np.ndarray
    longitudinal_strain: np.ndarray


def sample_body(n: int, generator: np.random.Generator) -> Body:
    """Draw ``n`` bodies; the heart rate is filled in once diseases are known."""
    normal = generator.standard_normal
    age = np.clip(64.5 + 7.7 * normal(n), 45, 82)
    sex = (generator.random(n) < 0.49).astype(np.float64)
    height = np.where(sex == 1, 176.5 + 6.6 * normal(n), 163.0 + 6.2 * normal(n)) - 0.06 * (age - 64.5)
    bmi = np.clip((26.1 + 0.8 * sex) * np.exp(0.155 * normal(n)), 17.5, 47)
    systolic = 137 + 3 * sex + 0.5 * (age - 64.5) + 0.7 * (bmi - 26.5) + 16 * normal(n)
    diastolic = 78 + 0.38 * (systolic - 138) - 0.2 * (age - 64.5) + 6 * normal(n)
    systolic = np.clip(systolic, 92, 215)
    return Body(
        age=age,
        sex=sex,
        height_cm=height,
        weight_kg=bmi * (height / 100) ** 2,
        systolic_pressure=systolic,
        diastolic_pressure=np.clip(diastolic, 45, np.minimum(118, systolic - 22)),
        heart_rate=np.full(n, np.nan),
    )


def sample_disease(body: Body, generator: np.random.Generator) -> Disease:
    """Draw diseases: the mix of a population cohort, enriched so that a few hundred subjects hold every kind."""
    n = len(body.age)
    older = body.age - 64.5

    def severity(probability: np.ndarray | float) -> np.ndarray:
        present = generator.random(n) < probability
        return present * generator.uniform(0.3, 1.0, n)

    hypertensive = np.clip((body.systolic_pressure - 148) / 35 + 0.35 * generator.standard_normal(n), 0, 1.4)
    septal = severity(0.02)
    dilated = severity(0.06)
    rv_overload = severity(0.07)
    athletic = severity(np.clip(0.09 - 0.012 * (body.bmi - 26.5), 0.01, 0.2)) * (dilated == 0)
    diabetes = (generator.random(n) < np.clip(0.07 * np.exp(0.11 * (body.bmi - 26.5)), 0, 0.5)).astype(np.float64)
    infarct = np.clip((0.04 + 0.085 * body.sex) * np.exp(0.05 * older) * (1 + 0.9 * diabetes), 0, 0.5)
    scar = _sample_scar(generator.random(n) < infarct, generator)
    fibrillation = 0.05 * np.exp(0.075 * older) * (1 + 1.5 * dilated + 0.8 * hypertensive + 0.8 * rv_overload)
    af_history = generator.random(n) < np.clip(fibrillation * (0.75 + 0.5 * body.sex), 0, 0.6)
    rhythm = af_history & (generator.random(n) < 0.5)
    left_block = generator.random(n) < np.clip(0.008 + 0.15 * dilated + 0.12 * scar.mean(1), 0, 0.4)
    right_block = ~left_block & (generator.random(n) < 0.025 * np.exp(0.04 * older) + 0.10 * rv_overload)
    return Disease(
        hypertensive=hypertensive,
        septal=septal,
        dilated=dilated,
        rv_overload=rv_overload,
        athletic=athletic,
        scar=scar,
        diabetes=diabetes,
        af_history=af_history,
        atrial_fibrillation=rhythm,
        left_bundle_block=left_block,
        right_bundle_block=right_block,
    )


def _sample_scar(infarcted: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Scar (N, 16): one coronary territory, patchy, denser where the territory's apical part is reached."""
    n = len(infarcted)
    membership = np.zeros((3, 16))
    for territory, segments in enumerate(TERRITORIES):
        membership[territory, list(segments)] = 1.0
    chosen = generator.choice(3, size=n, p=(0.45, 0.35, 0.20))
    transmural = generator.uniform(0.35, 1.0, n)
    reach = generator.uniform(0.45, 1.0, (n, 16))
    patchy = generator.random((n, 16)) < 0.85
    scar = membership[chosen] * transmural[:, None] * reach * patchy
    return np.where(infarcted[:, None], scar, 0.0)


def sample_chambers(body: Body, disease: Disease, generator: np.random.Generator) -> Chambers:
    """Draw ventricles, atria and aorta given the body and its diseases."""
    n, male = len(body.age), body.sex == 1
    older = body.age - 64.5
    size = np.log(body.surface_area / np.where(male, 1.99, 1.73))
    normal = generator.standard_normal
    lv_edv = np.where(male, 158.0, 119.0) * np.exp(
        1.1 * size - 0.004 * older - 0.005 * (body.heart_rate - 64) + 0.13 * normal(n)
        + 0.50 * disease.dilated + 0.22 * disease.athletic + 0.9 * disease.scar_extent
        - 0.12 * disease.septal - 0.10 * disease.rv_overload - 0.06 * disease.diabetes
    )  # fmt: skip
    ef = np.where(male, 58.5, 61.0) + 4.3 * normal(n)
    ef += -27 * disease.dilated - 62 * disease.scar_extent + 4 * disease.septal - 2 * disease.athletic
    ef -= 3 * disease.atrial_fibrillation + 5 * disease.left_bundle_block
    ef = np.clip(ef, 13, 80)
    dilatation = np.log(lv_edv / np.where(male, 158.0, 119.0)) - 1.1 * size
    lv_mass = np.where(male, 98.0, 67.5) * np.exp(
        1.1 * size + 0.40 * dilatation + 0.0015 * (body.systolic_pressure - 138) + 0.105 * normal(n)
        + 0.26 * disease.hypertensive + 0.40 * disease.septal + 0.06 * disease.dilated + 0.08 * disease.athletic
        - 0.25 * disease.scar_extent
    )  # fmt: skip
    lv_sv = lv_edv * ef / 100
    rv_ef = np.where(male, 54.5, 58.5) + 0.33 * (ef - 60) + 3.8 * normal(n) - 17 * disease.rv_overload
    rv_ef = np.clip(rv_ef - 2 * disease.atrial_fibrillation - 2 * disease.athletic, 15, 78)
    rv_sv = lv_sv * np.exp(0.035 * normal(n) + 0.18 * disease.rv_overload)
    rv_edv = rv_sv / (rv_ef / 100)
    rv_pressure = 24 + 34 * disease.rv_overload + 8 * disease.dilated + 3.5 * normal(n)
    left, right = _sample_atria(body, disease, size, generator)
    ascending = _sample_aorta(body, np.where(male, 880.0, 730.0), 1.5, 0.006, generator)
    descending = _sample_aorta(body, np.where(male, 560.0, 430.0), 2.1, 0.005, generator)
    return Chambers(
        lv_edv, lv_edv - lv_sv, lv_mass, rv_edv, rv_edv - rv_sv, np.clip(rv_pressure, 12, 95),
        *left, *right, *ascending, *descending,
    )  # fmt: skip


def _sample_atria(
    body: Body, disease: Disease, size: np.ndarray, generator: np.random.Generator
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    n, male = len(size), body.sex == 1
    burden = disease.af_history * 0.28 + disease.atrial_fibrillation * 0.22
    left = np.where(male, 71.0, 61.0) * np.exp(
        1.0 * size + burden + 0.18 * disease.hypertensive + 0.35 * disease.dilated + 0.16 * disease.athletic
        + 0.45 * disease.scar_extent + 0.17 * generator.standard_normal(n)
    )  # fmt: skip
    right = np.where(male, 92.0, 70.0) * np.exp(
        1.0 * size + 0.9 * burden + 0.40 * disease.rv_overload + 0.15 * disease.athletic
        + 0.19 * generator.standard_normal(n)
    )  # fmt: skip
    left_ef = 61 + 6 * generator.standard_normal(n) - 7 * disease.af_history - 20 * disease.atrial_fibrillation
    left_ef -= 9 * disease.dilated + 0.15 * (body.age - 64.5)
    right_ef = 45 + 7 * generator.standard_normal(n) - 5 * disease.af_history - 14 * disease.atrial_fibrillation
    right_ef -= 9 * disease.rv_overload
    left, right = np.clip(left, 18, 250), np.clip(right, 20, 270)
    left_min = left * (1 - np.clip(left_ef, 8, 82) / 100)
    right_min = right * (1 - np.clip(right_ef, 8, 75) / 100)
    return (left, left_min), (right, right_min)


def _sample_aorta(
    body: Body, area: np.ndarray, distensibility: float, growth: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maximum and minimum area (mm2) and distensibility (1e-3/mmHg): stiffer and wider with age and pressure."""
    n, older = len(area), body.age - 64.5
    largest = area * np.exp(
        growth * older + 0.25 * np.log(body.surface_area / 1.86) + 0.16 * generator.standard_normal(n)
    )
    stretch = distensibility * np.exp(
        -0.035 * older - 0.008 * (body.systolic_pressure - 138) + 0.32 * generator.standard_normal(n)
    )
    pulse = body.systolic_pressure - body.diastolic_pressure
    stretch = np.clip(stretch, 0.1, 9.0)
    return largest, largest / (1 + stretch * 1e-3 * pulse), stretch


def sample_anatomy(disease: Disease, chambers: Chambers, generator: np.random.Generator) -> Anatomy:
    """Draw thickness and strain of the AHA segments: scar thins a wall and stills it, low EF lowers all strains."""
    n = len(chambers.lv_edv)
    ring = np.array([0.99, 1.09, 1.07, 1.00, 0.95, 0.95, 0.93, 1.04, 1.06, 1.00, 0.96, 0.94, 0.88, 0.95, 0.92, 0.90])
    septal = np.zeros(16)
    septal[[1, 2, 7, 8, 13]] = (1.0, 0.8, 0.9, 0.8, 0.4)
    pattern = ring * (1 + 0.75 * disease.septal[:, None] * septal) * (1 + 0.045 * generator.standard_normal((n, 16)))
    pattern /= pattern.mean(1, keepdims=True)
    thickness = mean_wall_thickness(chambers.lv_edv, chambers.lv_mass)[:, None] * pattern
    # Thinning does not change the mass, which already fell with the scar's extent.
    thickness = np.clip(thickness * (1 - 0.45 * disease.scar), 2.3, 24.0)

    still = 1 - 0.85 * disease.scar
    spread = generator.standard_normal((n, 16))
    ef = chambers.lv_ef
    shape = np.repeat((0.93, 1.00, 1.12), (6, 6, 4))
    level = -(22.0 + 0.33 * (ef - 59.5) + 1.5 * generator.standard_normal(n))
    circumferential = np.clip(level[:, None] * shape * still * (1 + 0.08 * spread), -45, 4)
    radial_level = 45 + 0.85 * (ef - 59.5) + 4.0 * generator.standard_normal(n)
    relative = chambers.lv_mass / chambers.lv_edv / 0.62
    radial_level = np.clip(radial_level - 6 * (relative - 1), 6, None)
    radial_shape = np.repeat((1.06, 1.02, 0.88), (6, 6, 4))
    radial = np.clip(
        radial_level[:, None] * radial_shape * still * (1 + 0.12 * generator.standard_normal((n, 16))), -8, 120
    )
    # Long-axis segments: basal, mid, apical septum, then apical, mid, basal lateral wall; hypertrophy acts early here.
    neighbours = ((2,), (8,), (13,), (15,), (11,), (5,))
    long_still = np.stack([1 - 0.8 * disease.scar[:, list(k)].mean(1) for k in neighbours], 1)
    long_level = -(18.6 + 0.22 * (ef - 59.5) - 2.2 * disease.hypertensive - 3 * disease.septal)
    long_level = long_level + 1.4 * generator.standard_normal(n)
    long_shape = np.array([0.85, 0.97, 1.15, 1.12, 1.0, 0.95])
    longitudinal = np.clip(
        long_level[:, None] * long_shape * long_still * (1 + 0.09 * generator.standard_normal((n, 6))), -42, 6
    )
    return Anatomy(thickness, circumferential, radial, longitudinal)


def mean_wall_thickness(volume: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Mean wall thickness (mm) of a shell of ``mass`` (g) around a cavity of ``volume`` (mL); both (N,).

    A sphere of the same cavity, corrected by 1.12 for the ellipsoid's shape (assumption).
    """
    inner = np.cbrt(3 * volume / (4 * np.pi))
    outer = np.cbrt(3 * (volume + mass / MYOCARDIAL_DENSITY) / (4 * np.pi))
    return 10 * 1.12 * (outer - inner)
