"""The declared phenotypes: the 82 imaging-derived columns of UK Biobank fields 24100-24181 and their plausible ranges.

Field order follows UK Biobank category 157 (Bai et al., Nature Medicine 2020). A value outside its plausible range
counts as missing. Ranges are wide on purpose: they catch unit errors and failed segmentations, not disease.
"""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = ("LV", "RV", "LA", "RA", "aorta", "WT", "Ecc", "Err", "Ell")


@dataclass(frozen=True)
class Phenotype:
    """One imaging-derived number.

    Attributes:
        name: Name used throughout, such as ``lv_edv``.
        field: UK Biobank field number.
        unit: Unit as text, such as ``mL``.
        low: Smallest plausible value in ``unit``.
        high: Largest plausible value in ``unit``.
        group: One of ``GROUPS``.
        title: What it is, for tables and figures.
    """

    name: str
    field: int
    unit: str
    low: float
    high: float
    group: str
    title: str


def _declare() -> tuple[Phenotype, ...]:
    rows: list[tuple[str, str, float, float, str, str]] = [
        ("lv_edv", "mL", 40, 500, "LV", "LV end-diastolic volume"),
        ("lv_esv", "mL", 5, 450, "LV", "LV end-systolic volume"),
        ("lv_sv", "mL", 10, 250, "LV", "LV stroke volume"),
        ("lv_ef", "%", 5, 90, "LV", "LV ejection fraction"),
        ("lv_co", "L/min", 0.5, 20, "LV", "LV cardiac output"),
        ("lv_mass", "g", 20, 400, "LV", "LV myocardial mass"),
        ("rv_edv", "mL", 40, 500, "RV", "RV end-diastolic volume"),
        ("rv_esv", "mL", 5, 450, "RV", "RV end-systolic volume"),
        ("rv_sv", "mL", 10, 250, "RV", "RV stroke volume"),
        ("rv_ef", "%", 5, 90, "RV", "RV ejection fraction"),
    ]
    for side in ("la", "ra"):
        chamber = side.upper()
        rows += [
            (f"{side}_max_volume", "mL", 5, 300, chamber, f"{chamber} maximum volume"),
            (f"{side}_min_volume", "mL", 1, 280, chamber, f"{chamber} minimum volume"),
            (f"{side}_sv", "mL", 1, 150, chamber, f"{chamber} stroke volume"),
            (f"{side}_ef", "%", 1, 95, chamber, f"{chamber} ejection fraction"),
        ]
    for part, title in (("asc_aorta", "Ascending aorta"), ("desc_aorta", "Descending aorta")):
        rows += [
            (f"{part}_max_area", "mm2", 100, 3000, "aorta", f"{title} maximum area"),
            (f"{part}_min_area", "mm2", 80, 2800, "aorta", f"{title} minimum area"),
            (f"{part}_distensibility", "1e-3/mmHg", 0.01, 15, "aorta", f"{title} distensibility"),
        ]
    for stem, unit, low, high, group, title in (
        ("wt", "mm", 2, 25, "WT", "Wall thickness"),
        ("ecc", "%", -50, 10, "Ecc", "Circumferential strain"),
        ("err", "%", -20, 150, "Err", "Radial strain"),
    ):
        rows += [(f"{stem}_aha_{k}", unit, low, high, group, f"{title}, AHA segment {k}") for k in range(1, 17)]
        rows.append((f"{stem}_global", unit, low, high, group, f"{title}, global"))
    rows += [(f"ell_{k}", "%", -50, 15, "Ell", f"Longitudinal strain, segment {k}") for k in range(1, 7)]
    rows.append(("ell_global", "%", -50, 15, "Ell", "Longitudinal strain, global"))
    return tuple(
        Phenotype(name, 24100 + i, unit, low, high, group, title)
        for i, (name, unit, low, high, group, title) in enumerate(rows)
    )


PHENOTYPES: tuple[Phenotype, ...] = _declare()
"""All 82 phenotypes in column order; ``PHENOTYPES[i].field == 24100 + i``."""

BY_NAME: dict[str, Phenotype] = {phenotype.name: phenotype for phenotype in PHENOTYPES}
BY_FIELD: dict[int, Phenotype] = {phenotype.field: phenotype for phenotype in PHENOTYPES}


def names_of_groups(*groups: str) -> tuple[str, ...]:
    """Return the names of all phenotypes of the given groups, in column order."""
    return tuple(phenotype.name for phenotype in PHENOTYPES if phenotype.group in groups)
