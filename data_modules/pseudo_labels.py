"""Pseudo-labels: what a teacher predicted for training rows, in place of labels that these lack.

A teacher may see what the model does not: one that reads cardiac MRI, trained with few labels, labels every other pair
of the training split for the model that reads the ECG. Its predictions are a table of ``ecgcmr predict``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from ecgcmr.errors import UserError
from ecgcmr.shards.index import MODALITIES, ShardIndex

_KIND = "regression"


def read_pseudo_labels(path: Path, index: ShardIndex, names: Sequence[str], labelled: int) -> np.ndarray:
    """Return predictions of a teacher for the training split.

    Args:
        path: Table of ``ecgcmr predict`` (``.parquet`` or ``.csv``) of one model, with rows of the split ``train``.
        index: The cohort that the table is of.
        names: The K targets, numbers all of them.
        labelled: Training rows with labels of their own; a teacher that had more is noted.

    Returns:
        (rows of the index, K) float32 in units, NaN where the table has no prediction.

    Raises:
        UserError: The table cannot be read, is of several models, of another cohort, holds probabilities, or predicts
            no target of a training row.
    """
    from ecgcmr.evaluation.prediction_table import read_prediction_table  # pandas and pyarrow: only who asks waits

    table = read_prediction_table(path)
    table = table[(table["split"] == "train") & table["target"].isin(names)]
    if table.empty:
        raise UserError(
            f"pseudo_labels: {path.name} predicts none of the targets for the train split; write it with "
            "'ecgcmr predict --data.predict_split all'"
        )
    _check_model(table, path, names)
    _check_units(table, path, index)
    had = table["labels"].max()
    if had > labelled:
        rank_zero_info(f"note: the teacher of {path.name} had {had:,.0f} labelled rows, this fit has {labelled:,}")
    at = (
        _places(index).reindex(pd.MultiIndex.from_arrays([table["subject"].astype(str), table["recording"]])).to_numpy()
    )
    known = np.isfinite(at)
    if not known.any():
        raise UserError(f"pseudo_labels: {path.name} holds no training row of {index.root}; it is of another cohort")
    lost = len(table[~known][["subject", "recording"]].drop_duplicates())
    if lost:
        rank_zero_info(f"note: {lost:,} recordings that {path.name} predicts are no training rows here")
    column = table["target"].astype(str).map({name: k for k, name in enumerate(names)}).to_numpy()
    values = np.full((len(index), len(names)), np.nan, dtype=np.float32)
    values[at[known].astype(np.int64), column[known]] = table["prediction"].to_numpy()[known]
    return values


def _check_model(table: pd.DataFrame, path: Path, names: Sequence[str]) -> None:
    """Raise a UserError where a table is not of one model that predicts numbers; note what it does not predict."""
    lacking = [name for name in names if name not in set(table["target"].astype(str))]
    if lacking:
        rank_zero_info(f"note: {path.name} has no prediction of {', '.join(lacking)}; true labels alone teach them")
    kinds = set(table["kind"].dropna().astype(str)) - {_KIND}
    if kinds:
        raise UserError(f"pseudo_labels: {path.name} holds {', '.join(sorted(kinds))}; only numbers can be taught")
    about = ["method", "protocol", "labels", "seed"]
    if len(table[about].drop_duplicates()) > 1:
        raise UserError(f"pseudo_labels: {path.name} is of several models; keep the rows of one")


def _check_units(table: pd.DataFrame, path: Path, index: ShardIndex) -> None:
    """Raise a UserError where a table is in other units than the cohort."""
    units = {label.name: label.unit for label in index.layout.labels}
    for target, unit in table[["target", "unit"]].dropna().astype(str).drop_duplicates().itertuples(index=False):
        if unit and unit != units[target]:
            raise UserError(f"pseudo_labels: {path.name} gives {target} in {unit}, the cohort has {units[target]}")


def _places(index: ShardIndex) -> pd.Series:
    """Return (subject, number of a recording) -> position in the index, of training rows.

    A table numbers a subject's recordings among those that its model could read, and does not say which these are: a
    number that means one recording to a reader of ECGs and another to one of images is left out.
    """
    parts = []
    for need in (("ecg",), ("cmr",), MODALITIES):
        rows = index.positions("train", need)
        subjects = pd.Series(np.asarray(index.subjects(rows), dtype=str))
        parts.append(pd.DataFrame({"subject": subjects, "number": subjects.groupby(subjects).cumcount(), "row": rows}))
    known = pd.concat(parts).drop_duplicates().drop_duplicates(["subject", "number"], keep=False)
    return known.set_index(["subject", "number"])["row"]
