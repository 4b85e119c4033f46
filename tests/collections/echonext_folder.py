"""A tiny folder in EchoNext's layout: synthetic hearts, their ECGs clipped and z-scored, their measurements and flags.

Some of everything is unmeasured, where the publisher's flag reads 0 all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ecgcmr.phenotypes import phenotypes
from ecgcmr.synthesis.ecg import render_ecgs
from ecgcmr.synthesis.state import CardiacState, sample_states

ROWS = {"train": 8, "val": 3, "test": 3, "no_split": 2}
SPLIT_ORDER = ("no_split", "train", "test", "val")
_VALVES = ("aortic_stenosis", "aortic_regurgitation", "mitral_regurgitation", "tricuspid_regurgitation")
_VALVES += ("pulmonary_regurgitation",)
_LEVELS = ("presumed none", "none", "mild", "moderate", "severe")
_FUNCTION = ("normal", "mildly_reduced", "moderately_reduced", "severely_reduced")
_EFFUSION = ("none", "trace", "small", "moderate", "large")


def write_echonext(
    folder: Path,
    rows: Mapping[str, int] | None = None,
    seed: int = 0,
    *,
    name: str = "echonext_metadata_100k.csv",
    tabular: bool = True,
) -> pd.DataFrame:
    """Write table and arrays.

    Args:
        folder: Where to.
        rows: Split -> number of ECGs.
        seed: Of the hearts and of what is missing.
        name: Of the table.
        tabular: Whether to write the arrays of tabular features.

    Returns:
        The table as written, with a column ``array_row``: the row of its split's array.
    """
    rows = dict(ROWS if rows is None else rows)
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng([seed, 7])
    split = np.array([name for name in SPLIT_ORDER for _ in range(rows.get(name, 0))])
    split = split[draw.permutation(len(split))]  # the table is in no order of splits
    state = sample_states(len(split), seed)
    table = _table(state, split, draw)
    table.to_csv(folder / name, index=True)  # the release has a column without a name in front
    signals = np.moveaxis(render_ecgs(state, np.arange(len(split)), np.random.default_rng(seed))[:, :, ::2], 1, 2)
    low, high = np.percentile(signals, (0.1, 99.9), axis=(0, 1))
    signals = np.clip(signals, low, high).astype(np.float64)
    signals = (signals - signals.mean()) / signals.std()
    table["array_row"] = 0
    for part in np.unique(split):
        there = np.flatnonzero(split == part)
        table.loc[there, "array_row"] = np.arange(len(there))
        np.save(folder / f"EchoNext_{part}_waveforms.npy", signals[there][:, None])
        if tabular:
            np.save(folder / f"EchoNext_{part}_tabular_features.npy", _tabular(table.iloc[there]))
    return table


def _table(state: CardiacState, split: np.ndarray, draw: np.random.Generator) -> pd.DataFrame:
    count = len(split)
    true = dict(zip([label.name for label in phenotypes()], state.phenotypes.T, strict=True))
    ejection = np.clip(np.round(true["lv_ef"] + draw.normal(0, 2, count)), 5, 90)
    # Of val and test each ECG is of somebody else; some of train, and all of no_split, are further ECGs.
    patient = np.arange(count) + 5000
    train = np.flatnonzero(split == "train")
    patient[train[1::4]] = patient[train[: len(train[1::4])]]
    further, judged = np.flatnonzero(split == "no_split"), np.flatnonzero(np.isin(split, ("val", "test")))
    if len(judged):
        patient[further] = patient[np.resize(judged, len(further))]
    thickness = 0.75 + 0.004 * (true["lv_mass"] - true["lv_mass"].min())
    values = {
        "lvef_value": ejection,
        "ivs_measurement": np.round(thickness + draw.normal(0, 0.05, count), 2),
        "lvpw_measurement": np.round(thickness + draw.normal(0, 0.05, count), 2),
        "pasp_value": np.round(draw.uniform(20, 70, count)),
        "tr_max_velocity_value": np.round(draw.uniform(1.8, 4.2, count), 2),
    }
    words = {f"{valve}_value": draw.choice(_LEVELS, count).astype(object) for valve in _VALVES}
    words["rv_systolic_function_value"] = draw.choice(_FUNCTION, count).astype(object)
    words["pericardial_effusion_value"] = draw.choice(_EFFUSION, count).astype(object)
    for column in (*values, *words):
        (values if column in values else words)[column][draw.random(count) < 0.25] = np.nan
    flags = {
        "lvef_lte_45_flag": values["lvef_value"] <= 45,
        "lvwt_gte_13_flag": np.fmax(values["ivs_measurement"], values["lvpw_measurement"]) >= 1.3,
        **{
            f"{valve}_moderate_or_greater_flag": np.isin(words[f"{valve}_value"].astype(str), _LEVELS[3:])
            for valve in _VALVES
        },
        "rv_systolic_dysfunction_moderate_or_greater_flag": np.isin(
            words["rv_systolic_function_value"].astype(str), _FUNCTION[2:]
        ),
        "pericardial_effusion_moderate_large_flag": np.isin(
            words["pericardial_effusion_value"].astype(str), _EFFUSION[3:]
        ),
        "pasp_gte_45_flag": values["pasp_value"] >= 45,
        "tr_max_gte_32_flag": values["tr_max_velocity_value"] >= 3.2,
    }
    rate = np.round(state.body.heart_rate)
    atrial = np.where(draw.random(count) < 0.2, np.nan, rate)
    return pd.DataFrame(
        {
            "ecg_key": draw.permutation(count) + 100_000,
            "patient_key": patient,
            "age_at_ecg": np.minimum(np.round(state.body.age), 90),
            "sex": np.where(state.body.sex == 1, "male", "female"),
            "acquisition_year": draw.integers(2008, 2023, count),
            "location_setting": draw.choice(["inpatient", "outpatient", "emergency"], count),
            "race_ethnicity": "unknown",
            "most_recent_ecg": True,
            "ventricular_rate": rate,
            "atrial_rate": atrial,
            "pr_interval": np.where(np.isnan(atrial), np.nan, np.round(draw.normal(160, 20, count))),
            "qrs_duration": np.round(draw.normal(95, 10, count)),
            "qt_corrected": np.round(draw.normal(430, 20, count)),
            **values,
            **words,
            **{name: flag.astype(int) for name, flag in flags.items()},
            "shd_moderate_or_greater_flag": np.any(list(flags.values()), axis=0).astype(int),
            "split": split,
        }
    )


def _tabular(table: pd.DataFrame) -> np.ndarray:
    """Return the features in their true order: scaled, with medians where missing; of two the missing is 0."""

    def scaled(column: str) -> np.ndarray:
        values = table[column].to_numpy(dtype=float)
        if column in ("atrial_rate", "pr_interval"):
            values = np.nan_to_num(values)
        values = np.where(np.isnan(values), np.nanmedian(values), values)
        return (values - values.mean()) / (values.std() or 1.0)

    numbers = ("age_at_ecg", "ventricular_rate", "atrial_rate", "pr_interval", "qrs_duration", "qt_corrected")
    return np.column_stack([(table["sex"] == "male").astype(float), *map(scaled, numbers)])
