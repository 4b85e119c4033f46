"""Label columns and how values of a source become labels: phenotypes, covariates, diseases and ECG findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from data_modules.layout import Label
from ecgcmr.phenotypes import PHENOTYPES


@dataclass(frozen=True)
class Covariate:
    """A measurement of the person, with the range outside which it counts as missing.

    Attributes:
        label: Name, unit and title.
        field: UK Biobank field number; 0 where the value is computed (body-mass index).
        low: Smallest plausible value.
        high: Largest plausible value.
    """

    label: Label
    field: int
    low: float
    high: float


COVARIATES = (
    Covariate(Label("age", "covariate", "years", "covariate", "Age at imaging"), 21003, 0, 120),
    Covariate(Label("sex", "covariate", "1 = male", "covariate", "Sex"), 31, 0, 1),
    Covariate(Label("height", "covariate", "cm", "covariate", "Standing height"), 50, 100, 230),
    Covariate(Label("weight", "covariate", "kg", "covariate", "Body weight"), 21002, 25, 300),
    Covariate(Label("bmi", "covariate", "kg/m2", "covariate", "Body-mass index"), 0, 10, 80),
)


@dataclass(frozen=True)
class Disease:
    """A disease as a set of ICD-10 prefixes.

    Attributes:
        name: Short name, the stem of its three labels.
        title: Full name.
        prefixes: ICD-10 codes without dot; a code belongs to the disease if it starts with one of them. The lists
            follow Turgut et al. (arXiv 2308.05764); I249 and I250, lost there to a missing comma, are included.
    """

    name: str
    title: str
    prefixes: tuple[str, ...]

    def includes(self, code: str) -> bool:
        """Tell whether an ICD-10 code, with or without dot, belongs to the disease."""
        return code.replace(".", "").strip().upper().startswith(self.prefixes)


_CAD_CODES = (
    *("I200", "I201", "I208", "I209"),
    *("I210", "I211", "I212", "I213", "I214", "I219"),
    *("I220", "I221", "I228", "I229"),
    *("I240", "I248", "I249"),
    *("I250", "I251", "I252", "I253", "I254", "I255", "I256", "I258", "I259"),
)

DISEASES = (
    Disease("cad", "coronary artery disease", _CAD_CODES),
    Disease("af", "atrial fibrillation or flutter", ("I48",)),
    Disease("dm", "diabetes mellitus", ("E10", "E11", "E12", "E13", "E14")),
)

DISEASE_LABELS = tuple(
    Label(f"{disease.name}_{when}", "disease", "", "disease", title.format(disease.title))
    for disease in DISEASES
    for when, title in (
        ("prevalent", "{} before or at imaging"),
        ("incident", "{} first after imaging"),
        ("ever", "{} at any time"),
    )
)

LABELS: tuple[Label, ...] = (
    *(Label(p.name, "phenotype", p.unit, p.group, p.title) for p in PHENOTYPES),
    *(covariate.label for covariate in COVARIATES),
    *DISEASE_LABELS,
)
"""Label columns of a biobank cohort: 82 phenotypes, 5 covariates, 9 disease labels."""

FINDINGS = ("NORM", "MI", "STTC", "CD", "HYP")
_FINDING_TITLES = (
    "Normal ECG",
    "Myocardial infarction",
    "ST/T change",
    "Conduction disturbance",
    "Hypertrophy",
)

FINDING_LABELS = tuple(
    Label(name, "finding", "", "superclass", title) for name, title in zip(FINDINGS, _FINDING_TITLES, strict=True)
)

PTBXL_LABELS: tuple[Label, ...] = (*FINDING_LABELS, COVARIATES[0].label, COVARIATES[1].label)
"""Label columns of PTB-XL: its five diagnostic superclasses, age and sex."""

RANGES: dict[str, tuple[float, float]] = {
    **{p.name: (p.low, p.high) for p in PHENOTYPES},
    **{c.label.name: (c.low, c.high) for c in COVARIATES},
}
"""Plausible range of each number; outside it, a value counts as missing."""

SPECIAL_DATES = frozenset(
    (
        date(1900, 1, 1),
        date(1901, 1, 1),
        date(1902, 2, 2),
        date(1903, 3, 3),
        date(1909, 9, 9),
        date(2037, 7, 7),
    )
)
"""Dates by which UK Biobank says that it does not know the date."""


def within_range(name: str, value: float) -> bool:
    """Tell whether a value is plausible; NaN is not."""
    low, high = RANGES[name]
    return low <= value <= high


def disease_labels(diagnoses: Iterable[tuple[str, date | None]], imaging: date | None) -> Mapping[str, float]:
    """Label each disease as prevalent, incident and ever from dated diagnoses.

    Prevalent: the first date is on or before the day of imaging. Incident: it is after, among those without the
    disease at imaging (prevalent cases are missing, not negative: they are not at risk). Ever: any diagnosis. A
    disease known only by undated codes is present at an unknown time: ever is 1, the other two are missing. Without an
    imaging date, a person with the disease has prevalent and incident missing too.

    Args:
        diagnoses: ICD-10 code and date of first diagnosis; None or a special date where it is unknown.
        imaging: Day of the imaging visit.

    Returns:
        Label name -> 1, 0 or NaN, for all nine labels.
    """
    known = [(code, None if when in SPECIAL_DATES else when) for code, when in diagnoses]
    missing = float("nan")
    labels: dict[str, float] = {}
    for disease in DISEASES:
        dates = [when for code, when in known if disease.includes(code)]
        dated = [when for when in dates if when is not None]
        prevalent = incident = 0.0
        if dates and (not dated or imaging is None):
            prevalent = incident = missing
        elif dated and imaging is not None:
            before = min(dated) <= imaging
            # With an undated code beside later dates, the disease may have begun before imaging.
            unsure = not before and len(dated) < len(dates)
            prevalent = 1.0 if before else (missing if unsure else 0.0)
            incident = missing if before or unsure else 1.0
        labels[f"{disease.name}_prevalent"] = prevalent
        labels[f"{disease.name}_incident"] = incident
        labels[f"{disease.name}_ever"] = 1.0 if dates else 0.0
    return labels
