"""MIMIC-IV-ECHO's structured measurements, brought to MIMIC-IV's ECGs: those of the nearest study within some days.

The table is long, a row a measurement, tens of millions of them; it is read in parts, and of each part only what is
wanted stays. Two reporting systems wrote it, which call some measurements differently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.plain_table import numbers, plain_table_parts, require_file, timestamps
from ecgcmr.label_declarations import DeclaredLabel

TABLES = tuple(
    f"structured{mark}measurement{ending}" for mark in "-_" for ending in (".csv.gz", ".csv", "s.csv.gz", "s.csv")
)
"""Names that the table may have."""
RESTING = "tte"
"""Test type that counts: at rest, through the chest."""


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes:
        name: The label's, that of the first system.
        unit: In which it is kept.
        low: Smallest plausible value.
        high: Largest plausible value.
        title: What it is.
        other_names: What the second system calls it.
        units: Other unit -> factor into ``unit``.
    """

    name: str
    unit: str
    low: float
    high: float
    title: str
    other_names: tuple[str, ...] = ()
    units: Mapping[str, float] = field(default_factory=dict)


_LENGTH = {"mm": 0.1, "m": 100.0}
_SPEED = {"cm/s": 0.01, "cm/sec": 0.01, "mm/s": 0.001}
MEASURED = (
    Measured("lvef", "%", 1, 95, "LV ejection fraction"),
    Measured("lvef_upper", "%", 1, 95, "LV ejection fraction, upper end of its range"),
    Measured("biplane_lvef", "%", 1, 95, "LV ejection fraction, biplane"),
    Measured("lvef_3d", "%", 1, 95, "LV ejection fraction, 3D"),
    Measured("lvedd", "cm", 1, 12, "LV end-diastolic diameter", units=_LENGTH),
    Measured("lvesd", "cm", 0.5, 11, "LV end-systolic diameter", units=_LENGTH),
    Measured("septal_thickness", "cm", 0.2, 5, "Septal thickness", ("ivs_thickness",), _LENGTH),
    Measured("inf_lat_thickness", "cm", 0.2, 5, "Inferolateral thickness", ("inferolateral_thickness",), _LENGTH),
    Measured("lv_wall_thickness", "cm", 0.2, 5, "LV wall thickness", units=_LENGTH),
    Measured("la_vol", "ml", 5, 500, "Left atrial volume"),
    Measured("rv_diam", "cm", 0.5, 10, "RV diameter", units=_LENGTH),
    Measured("tapse", "cm", 0.2, 5, "Tricuspid annular plane systolic excursion", units=_LENGTH),
    Measured("tr_mmhg", "mmhg", 1, 200, "Gradient of tricuspid regurgitation"),
    Measured("tr_velocity", "m/s", 0.1, 10, "Velocity of tricuspid regurgitation", units=_SPEED),
    Measured("av_pk_vel", "m/s", 0.1, 10, "Peak velocity of the aortic valve", units=_SPEED),
    Measured("av_mean_grad", "mmhg", 0.5, 150, "Mean gradient of the aortic valve"),
    Measured("av_area_continuity", "cm2", 0.1, 10, "Area of the aortic valve"),
    Measured("mv_peak_e_a", "", 0.1, 10, "Ratio of E to A of the mitral valve"),
    Measured("sept_e_prime", "cm/s", 1, 40, "Septal e'", units={"m/s": 100.0, "m/sec": 100.0, "cm/sec": 1.0}),
)
"""What is read, in the order of the labels."""
_NAMES = pd.CategoricalDtype([one.name for one in MEASURED])
_CALLED = {name: one for one in MEASURED for name in (one.name, *one.other_names)}
_SPELLINGS = {"percent": "%", "pct": "%", "cc": "ml", "mm hg": "mmhg", "cm^2": "cm2", "cm\N{SUPERSCRIPT TWO}": "cm2"}
_SPELLINGS |= {"m/sec": "m/s", "ratio": "", "none": "", "unitless": ""}


def echo_labels() -> tuple[DeclaredLabel, ...]:
    """Return the measurements as labels."""
    return tuple(
        DeclaredLabel(one.name, unit=one.unit, low=one.low, high=one.high, group="echo_values", title=one.title)
        for one in MEASURED
    )


@dataclass
class EchoStudies:
    """The wanted measurements by study.

    Attributes:
        table: Columns ``subject`` (integers), ``time``, and one of numbers for each label; a row a study.
        other_tests: Test type -> values that are left out for being of that type.
        units: (label, unit) -> values in a unit that is not known, which are left out.
        unreadable: Label -> results that are no number.
        timeless: Values that are left out because nobody knows when they were measured.
    """

    table: pd.DataFrame
    other_tests: Counter[str] = field(default_factory=Counter)
    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    timeless: int = 0


def read_echo(folder: Path, subjects: pd.Series) -> EchoStudies:
    """Read the measurements of some subjects.

    Args:
        folder: That of the table.
        subjects: Their ids, as numbers.

    Returns:
        A row a subject and time of measurement; of several values of one name their median.

    Raises:
        UserError: The table is missing, damaged, lacks a column or has nothing of any of them.
    """
    path = require_file(folder, "--echo", *TABLES)
    known = set(subjects.dropna().astype("int64"))
    found = EchoStudies(pd.DataFrame())
    kept = []
    needs = ("subject_id", "measurement_datetime", "test_type", "measurement", "result", "unit")
    for part in plain_table_parts(path, needs):
        kept.append(_wanted(part, known, found))
    long = pd.concat(kept, ignore_index=True)
    if long.empty:
        others = ", ".join(f"{kind!r:.20}" for kind, _ in found.other_tests.most_common(5))
        raise UserError(
            f"{path.name}: has no measurement of test type {RESTING} of anybody in --ecg"
            + (f"; there are some of {others}" if others else "; are both folders of one release?")
        )
    wide = long.groupby(["subject", "time", "name"], observed=True)["value"].median().unstack("name")
    wide.columns = pd.Index([str(name) for name in wide.columns])
    found.table = wide.reindex(columns=[one.name for one in MEASURED]).reset_index()
    return found


def _wanted(part: pd.DataFrame, known: set[int], found: EchoStudies) -> pd.DataFrame:
    """Return what is wanted of a part of the table: subject, time, name of the label and value in its unit."""
    name = part["measurement"].str.strip().str.lower().map({name: one.name for name, one in _CALLED.items()})
    subject = numbers(part["subject_id"])
    there = name.notna() & subject.isin(known)
    kind = part["test_type"].fillna("").str.strip().str.lower()
    resting = kind == RESTING
    found.other_tests.update(kind[there & ~resting])
    part, name, subject = part[there & resting], name[there & resting], subject[there & resting].astype("int64")
    value = numbers(part["result"])
    found.unreadable.update(name[value.isna() & part["result"].notna()])
    unit = part["unit"].fillna("").str.strip().str.lower()
    unit = unit.map(_SPELLINGS).fillna(unit)
    factor = pd.Series(float("nan"), index=part.index)
    for one in MEASURED:
        of_one = name == one.name
        factor[of_one & unit.isin(["", one.unit])] = 1.0
        for other, times in one.units.items():
            factor[of_one & (unit == other)] = times
    strange = factor.isna() & value.notna()
    found.units.update(zip(name[strange], unit[strange], strict=True))
    time = timestamps(part["measurement_datetime"])
    found.timeless += int((value.notna() & time.isna()).sum())
    rows = pd.DataFrame({"subject": subject, "time": time, "name": name.astype(_NAMES), "value": value * factor})
    return rows[rows["value"].notna() & rows["time"].notna()]


def nearest_study(subjects: pd.Series, times: pd.Series, studies: pd.DataFrame, days: float) -> pd.DataFrame:
    """Give every ECG the measurements of its subject's nearest study.

    Args:
        subjects: (n,) ids as numbers.
        times: (n,) when the ECGs were taken.
        studies: As ``EchoStudies.table``.
        days: At most so far away, before or after; of two equally near the earlier one counts.

    Returns:
        (n,) rows in the given order: ``echo_time``, and a column a label, NaN where no study is near.
    """
    asked = pd.DataFrame({"subject": subjects, "time": times, "place": range(len(subjects))})
    usable = asked[asked["subject"].notna() & asked["time"].notna()].sort_values("time", kind="stable")
    usable = usable.astype({"subject": "int64"})
    there = studies.sort_values("time", kind="stable").assign(echo_time=lambda table: table["time"])
    for table in (usable, there):
        table["time"] = table["time"].astype("datetime64[ns]")
    joined = pd.merge_asof(
        usable, there, on="time", by="subject", direction="nearest", tolerance=pd.Timedelta(days=days)
    )
    columns = ["echo_time", *(one.name for one in MEASURED)]
    return joined.set_index("place")[columns].reindex(range(len(subjects)))
