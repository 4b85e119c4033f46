"""What EchoNext says of each ECG: eleven findings of an echocardiogram and their composite, what was measured, and who.

The publisher's flags read 0 where nothing was measured. Here a flag is missing wherever the value behind it is.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecgcmr.formats.plain_table import numbers
from ecgcmr.label_declarations import YES_NO, DeclaredLabel
from ecgcmr.preparation.collections.label_frames import yes_no
from ecgcmr.preparation.labels import AGE, SEX

COMPOSITE = "shd_moderate_or_greater_flag"
BEHIND: dict[str, tuple[str, ...]] = {
    "lvef_lte_45_flag": ("lvef_value",),
    "lvwt_gte_13_flag": ("ivs_measurement", "lvpw_measurement"),
    "aortic_stenosis_moderate_or_greater_flag": ("aortic_stenosis_value",),
    "aortic_regurgitation_moderate_or_greater_flag": ("aortic_regurgitation_value",),
    "mitral_regurgitation_moderate_or_greater_flag": ("mitral_regurgitation_value",),
    "tricuspid_regurgitation_moderate_or_greater_flag": ("tricuspid_regurgitation_value",),
    "pulmonary_regurgitation_moderate_or_greater_flag": ("pulmonary_regurgitation_value",),
    "rv_systolic_dysfunction_moderate_or_greater_flag": ("rv_systolic_function_value",),
    "pericardial_effusion_moderate_large_flag": ("pericardial_effusion_value",),
    "pasp_gte_45_flag": ("pasp_value",),
    "tr_max_gte_32_flag": ("tr_max_velocity_value",),
}
"""Flag -> the values that it was made from: without any one of them it is not known."""

_SEVERITY = {"presumed none": 0, "none": 0, "mild": 1, "moderate": 2, "severe": 3}
GRADES: dict[str, dict[str, int]] = {
    **{
        f"{valve}_value": _SEVERITY
        for valve in (
            "aortic_stenosis",
            "aortic_regurgitation",
            "mitral_regurgitation",
            "tricuspid_regurgitation",
            "pulmonary_regurgitation",
        )
    },
    "rv_systolic_function_value": {
        "normal": 0,
        "mildly_reduced": 1,
        "moderately_reduced": 2,
        "severely_reduced": 3,
    },
    "pericardial_effusion_value": {"none": 0, "trace": 1, "small": 2, "moderate": 3, "large": 4},
}
"""Column -> level -> grade. ``presumed none`` is what the publisher infers where a report says nothing of a valve."""

_NOT_MEASURED = (
    "",
    "unknown",
    "not assessed",
    "not evaluated",
    "not measured",
    "not reported",
    "not visualized",
    "n/a",
)
"""Texts that say of a value that there is none."""

VALUES = (
    ("lvef_value", "%", 1.0, 95.0, "LV ejection fraction by echocardiogram"),
    ("ivs_measurement", "cm", 0.2, 5.0, "Thickness of the interventricular septum"),
    ("lvpw_measurement", "cm", 0.2, 5.0, "Thickness of the LV posterior wall"),
    ("pasp_value", "mmHg", 1.0, 200.0, "Pulmonary artery systolic pressure"),
    ("tr_max_velocity_value", "m/s", 0.1, 10.0, "Greatest velocity of tricuspid regurgitation"),
)
"""(column, unit, smallest and largest plausible value, title)."""

DEVICE = (
    ("ventricular_rate", "ventricular_rate", "1/min", 10.0, 400.0),
    ("atrial_rate", "atrial_rate", "1/min", 10.0, 999.0),
    ("pr_interval", "device_pr_interval", "ms", 20.0, 999.0),
    ("qrs_duration", "device_qrs_duration", "ms", 20.0, 400.0),
    ("qt_corrected", "qt_corrected", "ms", 100.0, 999.0),
)
"""(column, label, unit, smallest, largest): what the recorder measured. Two have a name that ours have already."""

TABULAR = ("sex", "age_at_ecg", "ventricular_rate", "atrial_rate", "pr_interval", "qrs_duration", "qt_corrected")
"""True order of the columns of the arrays of tabular features; the collection's README has another one."""

FEWEST_COMPARED, LEAST_CORRELATION = 20, 0.9
"""Rows without which, and correlation below which, nothing is said of a join, or that it is wrong."""

COLUMNS = (*BEHIND, COMPOSITE, *GRADES, *(value[0] for value in VALUES), *(device[0] for device in DEVICE))
"""Columns that are read of the metadata, besides age, sex and keys."""


def echonext_labels() -> tuple[DeclaredLabel, ...]:
    """Return the labels: flags, composite, values, grades, the recorder's measurements, age and sex."""
    return (
        *(DeclaredLabel(name, YES_NO, group="echo_flags") for name in BEHIND),
        DeclaredLabel(COMPOSITE, YES_NO, group="echo_composite"),
        *(
            DeclaredLabel(name, unit=unit, low=low, high=high, group="echo_values", title=title)
            for name, unit, low, high, title in VALUES
        ),
        *(
            DeclaredLabel(name, unit="grade", low=0, high=max(levels.values()), group="echo_grades")
            for name, levels in GRADES.items()
        ),
        *(DeclaredLabel(name, unit=unit, low=low, high=high, group="device") for _, name, unit, low, high in DEVICE),
        AGE,
        SEX,
    )


def label_values(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Turn the metadata into values of labels.

    Args:
        table: The columns ``COLUMNS``, ``age_at_ecg`` and ``sex`` as text.

    Returns:
        Label -> (rows,) numbers or texts, NaN where missing; a text that is none of its levels stays as it is.
    """
    values: dict[str, pd.Series] = {}
    for flag, behind in BEHIND.items():
        values[flag] = _truth(table[flag]).where(table[list(behind)].apply(_is_measured).all(axis=1))
    values[COMPOSITE] = _truth(table[COMPOSITE])
    values |= {name: table[name] for name, *_ in VALUES}
    for name, levels in GRADES.items():
        grade = table[name].str.strip().str.lower().map(levels)
        values[name] = grade.where(grade.notna(), table[name])
    for column, name, *_ in DEVICE:
        value = numbers(table[column])
        values[name] = value.where(value != 0)  # a recorder's 0 is no measurement
    return values | {"age": table["age_at_ecg"], "sex": yes_no(table["sex"], ("male", "m"), ("female", "f"))}


def _is_measured(column: pd.Series) -> pd.Series:
    said = column.str.strip().str.lower()
    return said.notna() & ~said.isin(_NOT_MEASURED)


def _truth(flag: pd.Series) -> pd.Series:
    return yes_no(flag, ("true", "1", "1.0"), ("false", "0", "0.0"))


def misjoined(table: pd.DataFrame, features: np.ndarray) -> str | None:
    """Say whether an array of tabular features is of other rows than a table's; None if it fits or is too small.

    Age and ventricular rate stand in both, in the array scaled and with medians where they are missing.

    Args:
        table: Rows of one split, in the table's order.
        features: (n, 7) of the same split.
    """
    if features.ndim != 2 or features.shape != (len(table), len(TABULAR)):
        return f"is of shape {features.shape}, not ({len(table)}, {len(TABULAR)})"
    for name in ("age_at_ecg", "ventricular_rate"):
        said = numbers(table[name]).to_numpy(dtype=float)
        stored = np.asarray(features[:, TABULAR.index(name)], dtype=float)
        both = np.isfinite(said) & np.isfinite(stored)
        if both.sum() < FEWEST_COMPARED or np.ptp(said[both]) == 0 or np.ptp(stored[both]) == 0:
            continue
        if np.corrcoef(said[both], stored[both])[0, 1] < LEAST_CORRELATION:
            return f"has another {name} than the table in the same rows, so that nobody knows whose ECG is whose"
    return None
