"""What an experiment predicted as one table, ``predictions.parquet``, and the full assessment made from it.

The table holds the test split, and of classes the validation split too, on which thresholds are chosen. Of a subject
with several recordings it holds the first one, since a subject's subgroups are told by one value each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ecgcmr.evaluation.arrangement import arrange
from ecgcmr.evaluation.assessment import assess
from ecgcmr.evaluation.prediction_table import checked_table, table_of, write_prediction_table
from ecgcmr.evaluation.predictions import Predictions
from ecgcmr.evaluation.progress import told
from ecgcmr.evaluation.result_file import write_assessment
from ecgcmr.evaluation.results import Target
from ecgcmr.evaluation.rows import Settings
from ecgcmr.files import write_atomically
from ecgcmr.reports.report_figures import draw_report
from ecgcmr.reports.report_text import write_report_md, write_report_tex
from ecgcmr.shards import ShardIndex, read_labels

FILE = "predictions.parquet"
COVARIATES = ("sex", "age", "heart_rate", "signal_quality")
"""Labels that say which subgroup a subject is of, where the cohort has them."""

_WORDS = ("target", "split", "method", "protocol", "unit", "group", "kind")


def prediction_frame(predictions: Sequence[Predictions], targets: Sequence[Target], index: ShardIndex) -> pd.DataFrame:
    """Return all predictions as one table with each subject's covariates.

    Words are categories from the start: a table has millions of rows.

    Args:
        predictions: Of any methods and splits.
        targets: Where units and groups are taken from.
        index: The cohort.
    """
    firsts = [_first_of_each(own) for own in predictions]
    parts = [table_of([own], targets) for own in firsts]
    subjects = pd.CategoricalDtype(sorted({subject for own in firsts for subject in own.subjects}))
    kinds = {name: pd.CategoricalDtype(sorted({w for part in parts for w in part[name].dropna().unique()}))
             for name in _WORDS}  # fmt: skip
    frame = pd.concat([part.astype({"subject": subjects, **kinds}) for part in parts], ignore_index=True)
    for name, values in _covariates(index, subjects.categories).items():
        frame[name] = values[frame["subject"].cat.codes.to_numpy()]
    return frame


def _first_of_each(own: Predictions) -> Predictions:
    _, first = np.unique(np.array(own.subjects), return_index=True)
    rows = np.sort(first)
    if len(rows) == len(own.subjects):
        return own
    subjects = tuple(own.subjects[row] for row in rows)
    return replace(own, subjects=subjects, truth=own.truth[rows], prediction=own.prediction[rows])


def _covariates(index: ShardIndex, subjects: pd.Index) -> Mapping[str, np.ndarray]:
    """Return each subject's own values, from its first recording with an ECG."""
    known = [name for name in COVARIATES if name in index.label_names]
    if not known:
        return {}
    rows = index.positions(None, ("ecg",))
    names, first = np.unique(np.asarray(index.subjects(rows), dtype=str), return_index=True)
    own = rows[first[np.searchsorted(names, subjects.to_numpy(dtype=str))]]
    order = np.argsort(own)
    values = np.empty((len(own), len(known)))
    values[order] = read_labels(index, known, own[order])
    return dict(zip(known, values.T, strict=True))


def write_evaluation(
    frame: pd.DataFrame,
    out: Path,
    tasks: Mapping[str, str],
    *,
    resamples: int,
    seed: int,
    focus: str | None,
    targets: Sequence[Target] = (),
) -> None:
    """Write ``predictions.parquet``, ``evaluation/TASK/`` (what ``ecgcmr evaluate`` makes of it) and ``results.tex``.

    Args:
        frame: From ``prediction_frame``.
        out: Folder of the experiment.
        tasks: Name -> kind of each task; a task's methods need not be those of another.
        resamples: Bootstrap resamples.
        seed: Of the resamples.
        focus: Method to compare with every other; None, or a method that a task lacks, compares all pairs.
        targets: Order and titles of the targets in tables and figures.
    """
    write_prediction_table(out / FILE, frame)
    texts = []
    for name, kind in tasks.items():
        own = frame[frame["kind"] == kind]
        known = focus is not None and bool((own["method"] == focus).any())
        settings = Settings(resamples=resamples, seed=seed, focus=focus if known else None)
        data = arrange(checked_table(own, FILE), FILE, targets=targets)
        with told(f"assessing {name}") as tell:
            found = assess(data, settings, tell)
        folder = out / "evaluation" / name
        write_assessment(found, folder / "results.json")
        write_report_md(found, folder / "results.md", title=f"Assessment of {name}")
        texts.append(write_report_tex(found, folder / "results.tex").read_text())
        draw_report(found, folder / "figures")
    write_atomically(out / "results.tex", "\n".join(texts).encode())
