"""Label columns: phenotypes, covariates, diseases (the built-in ones and any from a list of codes), ECG findings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.phenotypes import PHENOTYPES
from ecgcmr.shards.layout import Label
from ecgcmr.yaml_file import read_yaml


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
        return clean_code(code).startswith(self.prefixes)


def clean_code(code: str) -> str:
    """Return an ICD-10 code in capitals without dot and space around it."""
    return code.replace(".", "").strip().upper()


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

_EVENTS = (
    ("prevalent", "{} before or at imaging"),
    ("incident", "{} first after imaging"),
    ("ever", "{} at any time"),
)


def _event_labels(disease: Disease) -> tuple[Label, ...]:
    return tuple(
        Label(f"{disease.name}_{when}", "disease", "", "disease", title.format(disease.title))
        for when, title in _EVENTS
    )


def _time_label(disease: Disease) -> Label:
    title = f"Time from imaging to {disease.title} or to the end of follow-up"
    return Label(f"{disease.name}_years", "time", "years", "disease", title)


def label_schema(diseases: Sequence[Disease] = DISEASES) -> tuple[Label, ...]:
    """Return the label columns of a biobank cohort.

    82 phenotypes, 5 covariates; ``{disease}_prevalent``, ``_incident`` and ``_ever`` of CAD, AF and DM, then the
    ``_years`` of these three; then those four of every further disease. ``_years`` is the time from imaging to the
    first diagnosis where ``_incident`` is 1 and to the end of follow-up where it is 0. Further diseases come last, so
    that the columns before them stay where they are.

    Args:
        diseases: Which diseases; names unique.
    """
    known = [disease for disease in diseases if disease in DISEASES]
    further = [disease for disease in diseases if disease not in DISEASES]
    return (
        *(Label(p.name, "phenotype", p.unit, p.group, p.title) for p in PHENOTYPES),
        *(covariate.label for covariate in COVARIATES),
        *(label for disease in known for label in _event_labels(disease)),
        *(_time_label(disease) for disease in known),
        *(label for disease in further for label in (*_event_labels(disease), _time_label(disease))),
    )


LABELS: tuple[Label, ...] = label_schema()
"""Label columns of a biobank cohort: 82 phenotypes, 5 covariates, 9 disease labels, 3 times to event."""

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

_LONGEST_FOLLOW_UP = 100.0

RANGES: dict[str, tuple[float, float]] = {
    **{p.name: (p.low, p.high) for p in PHENOTYPES},
    **{c.label.name: (c.low, c.high) for c in COVARIATES},
}
"""Plausible range of each phenotype and covariate; outside it, a value counts as missing."""


def plausible(label: Label, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which values a label can have: within its range, 0 or 1 for a disease or sex; NaN is none of them."""
    if label.is_binary or label.name == "sex":
        return (values == 0) | (values == 1)
    low, high = RANGES.get(label.name, (0.0, _LONGEST_FOLLOW_UP))
    return (values >= low) & (values <= high)


def within_range(name: str, value: float) -> bool:
    """Tell whether a phenotype or covariate is plausible; NaN is not."""
    low, high = RANGES[name]
    return low <= value <= high


_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PREFIX = re.compile(r"[A-Z][0-9A-Z]{0,6}")
_MOST_BYTES = 1 << 20


def load_code_lists(path: str | Path) -> tuple[Disease, ...]:
    """Read further diseases from a YAML file.

    The file maps a name to a title and to prefixes of ICD-10 codes, with or without dot::

        heart_failure:
          title: heart failure
          prefixes: [I50, I11.0]

    Args:
        path: The file.

    Returns:
        The diseases in the order of the file; without a title the name stands for it.

    Raises:
        UserError: The file is missing or no such list, or a name or prefix is impossible or taken.
    """
    path = Path(path)
    entries = read_yaml(path, what="list of codes", most=_MOST_BYTES, shown=path.name)
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path.name}: must map names of diseases to a title and prefixes of ICD-10 codes")
    diseases = tuple(_disease(path.name, name, entry) for name, entry in entries.items())
    names = [label.name for label in label_schema((*DISEASES, *diseases))]
    clash = next((name for name in names if names.count(name) > 1), None)
    if clash is not None:
        raise UserError(f"{path.name}: label {clash} would stand for two things; choose another name")
    return diseases


def _disease(file: str, name: object, entry: object) -> Disease:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"{file}: {name!r} is no name of a disease; use lower-case letters, digits and _")
    if not isinstance(entry, dict) or set(entry) - {"title", "prefixes"}:
        raise UserError(f"{file}: {name}: give it a title and prefixes, nothing else")
    title, prefixes = entry.get("title", name.replace("_", " ")), entry.get("prefixes")
    if not isinstance(title, str) or not title.strip() or len(title) > 200:
        raise UserError(f"{file}: {name}: its title is no text")
    if not isinstance(prefixes, list) or not prefixes:
        raise UserError(f"{file}: {name}: has no prefixes; list ICD-10 codes or their beginnings, such as [I50, I110]")
    codes = [clean_code(prefix) if isinstance(prefix, str) else "" for prefix in prefixes]
    for prefix, code in zip(prefixes, codes, strict=True):
        if not _PREFIX.fullmatch(code):
            raise UserError(f"{file}: {name}: {prefix!r} is no beginning of an ICD-10 code, such as I50")
    return Disease(name, title.strip(), tuple(codes))
