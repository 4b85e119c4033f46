"""The labels of a biobank cohort: phenotypes, covariates, diseases, and what the user declares besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.limits import naming
from ecgcmr.label_declarations import YES_NO, DeclaredLabel, load_labels
from ecgcmr.phenotypes import phenotypes
from ecgcmr.preparation.beats import MEASUREMENTS
from ecgcmr.preparation.diseases import DISEASES, Disease, load_code_lists
from ecgcmr.preparation.label_columns import LONGEST_FOLLOW_UP, LabelColumn, label_columns
from ecgcmr.shards.layout import Label

AGE = DeclaredLabel(
    "age", column=21003, unit="years", low=0, high=120, group="covariate", title="Age at imaging", covariate=True
)
SEX = DeclaredLabel(
    "sex", YES_NO, 31, "1 = male", group="covariate", title="Sex", covariate=True,
    positive=("1", "male", "m"), negative=("0", "female", "f"), any_visit=True,
)  # fmt: skip
COVARIATES = (
    AGE,
    SEX,
    DeclaredLabel(
        "height", column=50, unit="cm", low=100, high=230, group="covariate", title="Standing height", covariate=True
    ),
    DeclaredLabel(
        "weight", column=21002, unit="kg", low=25, high=300, group="covariate", title="Body weight", covariate=True
    ),
    DeclaredLabel("bmi", unit="kg/m2", low=10, high=80, group="covariate", title="Body-mass index", covariate=True),
)

ALIASES = {
    "lvedv_ml": "lv_edv",
    "lvesv_ml": "lv_esv",
    "lvef_pct": "lv_ef",
    "rvedv_ml": "rv_edv",
    "rvesv_ml": "rv_esv",
    "rvef_pct": "rv_ef",
    "lvm_ed_g": "lv_mass",
}
"""Column names of other data sets -> label names."""

_EVENTS = (
    ("prevalent", "{} before or at imaging"),
    ("incident", "{} first after imaging"),
    ("ever", "{} at any time"),
)


def _event_columns(disease: Disease) -> tuple[LabelColumn, ...]:
    return tuple(
        column
        for when, title in _EVENTS
        for column in label_columns(
            DeclaredLabel(
                f"{disease.name}_{when}",
                YES_NO,
                group="disease",
                title=title.format(disease.title),
                positive=("1",),
                negative=("0",),
            )
        )
    )


def _time_column(disease: Disease) -> LabelColumn:
    name = f"{disease.name}_years"
    title = f"Time from imaging to {disease.title} or to the end of follow-up"
    label = Label(name, "time", "years", "disease", title)
    return LabelColumn(label, name, name, 0, LONGEST_FOLLOW_UP, table_unit="years")


@dataclass(frozen=True)
class TableLabels:
    """What a biobank's tables are read for.

    82 phenotypes, 5 covariates; ``{disease}_prevalent``, ``_incident`` and ``_ever`` of CAD, AF and DM, then the
    ``_years`` of these three; then those four of every further disease; then what is declared. ``_years`` is the time
    from imaging to the first diagnosis where ``_incident`` is 1 and to the end of follow-up where it is 0. What is
    further comes last, so that the columns before it stay where they are.

    Attributes:
        diseases: Which diseases.
        declared: Labels that the user declares.
        is_biobank: Whether the phenotypes, covariates and diseases are among them, not what is declared alone.
    """

    diseases: tuple[Disease, ...] = DISEASES
    declared: tuple[DeclaredLabel, ...] = ()
    is_biobank: bool = True

    @classmethod
    def read(cls, codes: Path | None, labels: Path | None, *, is_biobank: bool = True) -> TableLabels:
        """Read what a user adds: a list of codes, a list of labels.

        Raises:
            UserError: A file is no such list, or a name in it is taken.
        """
        found = cls(is_biobank=is_biobank)
        if codes is not None:
            found = replace(found, diseases=(*DISEASES, *load_code_lists(codes)))
            with naming(codes):
                check_names(found.columns)
        if labels is not None:
            found = replace(found, declared=load_labels(labels))
            with naming(labels):
                check_names(found.columns)
        return found

    @cached_property
    def declared_columns(self) -> tuple[LabelColumn, ...]:
        """The columns of what is declared, which stand last."""
        return tuple(column for declared in self.declared for column in label_columns(declared))

    @cached_property
    def columns(self) -> tuple[LabelColumn, ...]:
        """The columns in order."""
        if not self.is_biobank:
            return self.declared_columns
        known = [disease for disease in self.diseases if disease in DISEASES]
        further = [disease for disease in self.diseases if disease not in DISEASES]
        return (
            *(column for declared in (*phenotypes(), *COVARIATES) for column in label_columns(declared)),
            *(column for disease in known for column in _event_columns(disease)),
            *(_time_column(disease) for disease in known),
            *(column for disease in further for column in (*_event_columns(disease), _time_column(disease))),
            *self.declared_columns,
        )

    @cached_property
    def by_field(self) -> dict[int, list[LabelColumn]]:
        """Number of a field -> the labels that are read from it."""
        found: dict[int, list[LabelColumn]] = {}
        for column in self.columns:
            if isinstance(column.column, int):
                found.setdefault(column.column, []).append(column)
        return found

    @cached_property
    def by_name(self) -> dict[str, list[LabelColumn]]:
        """Plain name of a column, in lower case -> the labels that are read from it."""
        found: dict[str, list[LabelColumn]] = {}
        for column in self.columns:
            found.setdefault(column.plain_column, []).append(column)
        return found


def check_names(columns: Sequence[LabelColumn]) -> None:
    """Make sure that no two labels have one name, those measured on the ECG included.

    Raises:
        UserError: Two have; the message names it.
    """
    names = [*(column.label.name for column in columns), *(label.name for label in MEASUREMENTS)]
    clash = next((name for name in names if names.count(name) > 1), None)
    if clash is not None:
        raise UserError(f"label {clash} would stand for two things; choose another name")


def label_schema(diseases: Sequence[Disease] = DISEASES) -> tuple[Label, ...]:
    """Return the label columns of a biobank cohort, see ``TableLabels``."""
    return tuple(column.label for column in TableLabels(tuple(diseases)).columns)
