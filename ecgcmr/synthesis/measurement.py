"""From the state to the 82 phenotype columns: the true values, and what an imaging laboratory would have noted.

Segmentation noise follows the size of inter-observer differences in UK Biobank contours (Petersen et al. 2017),
rounded; the share of missing values is an assumption.
"""

from __future__ import annotations

import numpy as np

from ecgcmr.phenotypes import names_of_groups, phenotype_positions, phenotypes
from ecgcmr.synthesis.heart import Anatomy, Body, Chambers

VOLUME_NOISE = {"lv_edv": 0.03, "lv_esv": 0.055, "lv_mass": 0.05, "rv_edv": 0.03, "rv_esv": 0.05}
"""SD of the relative error of a contoured volume or mass."""
ATRIAL_NOISE = 0.06
AREA_NOISE = 0.025
DISTENSIBILITY_NOISE = 0.18
THICKNESS_NOISE_MM = 0.35
STRAIN_NOISE = {"Ecc": 1.8, "Err": 5.0, "Ell": 2.0}
"""SD of the error of one segment's peak strain, percentage points."""
MISSING_BY_GROUP = {"LV": 0.01, "RV": 0.02, "LA": 0.04, "RA": 0.04, "aorta": 0.06, "WT": 0.02, "Ecc": 0.03, "Err": 0.03,
                    "Ell": 0.05}  # fmt: skip
"""Share of subjects for whom a whole group could not be analysed."""
MISSING_CELL = 0.004
SECOND_RATE_SD = 3.0
"""The heart rate in the scanner differs from that of the ECG by this SD, beats per minute."""


def lay_out_phenotypes(body: Body, chambers: Chambers, anatomy: Anatomy) -> np.ndarray:
    """Return the true phenotypes (N, 82) in column order, in the units of ``ecgcmr.phenotypes``."""
    place = phenotype_positions()
    table = np.full((len(body.age), len(place)), np.nan)
    base = {
        "lv_edv": chambers.lv_edv, "lv_esv": chambers.lv_esv, "lv_mass": chambers.lv_mass,
        "rv_edv": chambers.rv_edv, "rv_esv": chambers.rv_esv,
        "la_max_volume": chambers.la_max, "la_min_volume": chambers.la_min,
        "ra_max_volume": chambers.ra_max, "ra_min_volume": chambers.ra_min,
        "asc_aorta_max_area": chambers.ascending_max, "asc_aorta_min_area": chambers.ascending_min,
        "asc_aorta_distensibility": chambers.ascending_distensibility,
        "desc_aorta_max_area": chambers.descending_max, "desc_aorta_min_area": chambers.descending_min,
        "desc_aorta_distensibility": chambers.descending_distensibility,
    }  # fmt: skip
    for name, values in base.items():
        table[:, place[name]] = values
    for stem, segments in (
        ("wt_aha", anatomy.wall_thickness),
        ("ecc_aha", anatomy.circumferential_strain),
        ("err_aha", anatomy.radial_strain),
        ("ell", anatomy.longitudinal_strain),
    ):
        first = place[f"{stem}_1"]
        table[:, first : first + segments.shape[1]] = segments
    _derive(table, body.heart_rate)
    return clip_to_plausible(table)


def _derive(table: np.ndarray, heart_rate: np.ndarray) -> None:
    """Fill, in place, the columns that follow from others: stroke volumes, fractions, output, global means."""
    place = phenotype_positions()

    def column(name: str) -> np.ndarray:
        return table[:, place[name]]

    for chamber, largest, smallest in (
        ("lv", "lv_edv", "lv_esv"),
        ("rv", "rv_edv", "rv_esv"),
        ("la", "la_max_volume", "la_min_volume"),
        ("ra", "ra_max_volume", "ra_min_volume"),
    ):
        stroke = column(largest) - column(smallest)
        table[:, place[f"{chamber}_sv"]] = stroke
        table[:, place[f"{chamber}_ef"]] = 100 * stroke / column(largest)
    table[:, place["lv_co"]] = column("lv_sv") * heart_rate / 1000
    for stem, group in (("wt", "WT"), ("ecc", "Ecc"), ("err", "Err"), ("ell", "Ell")):
        segments = [place[name] for name in names_of_groups(group) if not name.endswith("global")]
        table[:, place[f"{stem}_global"]] = table[:, segments].mean(1)


def clip_to_plausible(table: np.ndarray) -> np.ndarray:
    """Return phenotypes (N, 82) no smaller and no larger than is plausible."""
    return np.clip(table, [phenotype.low for phenotype in phenotypes()], [phenotype.high for phenotype in phenotypes()])


def observe_phenotypes(true: np.ndarray, heart_rate: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Measure the phenotypes: contouring errors on what is contoured, everything else computed from that, gaps.

    Args:
        true: (N, 82) true values.
        heart_rate: (N,) mean heart rate at the ECG, beats per minute.
        generator: Source of the errors.

    Returns:
        (N, 82) measured values inside their plausible ranges, NaN where missing.
    """
    place = phenotype_positions()
    n = len(true)
    table = true.copy()
    relative = dict(VOLUME_NOISE)
    relative |= {f"{side}_{which}_volume": ATRIAL_NOISE for side in ("la", "ra") for which in ("max", "min")}
    relative |= {f"{part}_aorta_distensibility": DISTENSIBILITY_NOISE for part in ("asc", "desc")}
    for name, spread in relative.items():
        table[:, place[name]] *= np.exp(spread * generator.standard_normal(n))
    for part in ("asc", "desc"):
        # The same contour model draws both areas, so most of its error is common to them.
        common = AREA_NOISE * generator.standard_normal(n)
        table[:, place[f"{part}_aorta_max_area"]] *= np.exp(common)
        own = 0.2 * AREA_NOISE * generator.standard_normal(n)
        table[:, place[f"{part}_aorta_min_area"]] *= np.exp(common + own)
    for largest, smallest in (("la_max_volume", "la_min_volume"), ("ra_max_volume", "ra_min_volume")):
        table[:, place[smallest]] = np.minimum(table[:, place[smallest]], 0.97 * table[:, place[largest]])
    for group, spread in (("WT", THICKNESS_NOISE_MM), *STRAIN_NOISE.items()):
        columns = [place[name] for name in names_of_groups(group)]
        table[:, columns] += spread * generator.standard_normal((n, len(columns)))
    _derive(table, heart_rate + SECOND_RATE_SD * generator.standard_normal(n))
    table = clip_to_plausible(table)
    for group, share in MISSING_BY_GROUP.items():
        columns = [place[name] for name in names_of_groups(group)]
        table[np.ix_(np.flatnonzero(generator.random(n) < share), np.array(columns))] = np.nan
    table[generator.random(table.shape) < MISSING_CELL] = np.nan
    return table
