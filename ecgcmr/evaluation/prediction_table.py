"""Predictions of any origin: one table of subject, target, truth and prediction, as Parquet or CSV.

Read and checked here, so that all that follows may rely on it. A row is what one method, trained with one seed,
predicted for one target of one recording of a subject. No message names a subject.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from ecgcmr.errors import UserError
from ecgcmr.evaluation.rows import MEAN
from ecgcmr.evaluation.training_ends import ENDS
from ecgcmr.files import replace_atomically
from ecgcmr.metrics.tasks import TASKS
from ecgcmr.shards.layout import SPLITS
from ecgcmr.text import LONGEST_NAME, printable

REQUIRED = ("subject", "target", "truth", "prediction", "split", "seed")
TEXTS = ("method", "protocol", "unit", "group", "kind", "task", "ended")
NUMBERS = ("recording", "labels", "event", "time", "age", "heart_rate")
EITHER = ("sex", "signal_quality")
"""Subgroup columns that may hold numbers or words."""

COLUMNS = (*REQUIRED, *TEXTS, *NUMBERS, *EITHER)
KEY = ("subject", "recording", "target", "split", "seed", "method", "protocol", "labels")
"""What identifies a row."""

DEFAULT_METHOD = "predictions"
HASH = re.compile(r"[0-9a-f]{32}")
_SUFFIXES = (".parquet", ".csv")
_KIND_OF_LABEL = {
    "phenotype": "regression",
    "covariate": "regression",
    "measurement": "regression",
    "disease": "classification",
    "finding": "classification",
    "event": "time_to_event",
}


def read_prediction_table(path: Path | str) -> pd.DataFrame:
    """Read and check a table of predictions.

    Args:
        path: ``.parquet`` (needs pyarrow) or ``.csv`` with the columns ``REQUIRED`` and any of the others. Missing
            truth is empty or NaN. For a target whose ``kind`` is ``time_to_event`` the columns ``time`` and ``event``
            are the truth. Columns of other names are left out.

    Returns:
        A frame with all of ``COLUMNS`` (absent ones empty): texts as categories, numbers as float64, ``seed`` and
        ``recording`` (0 where it is absent) as int64.

    Raises:
        UserError: If the file is missing or unreadable, a column is missing or of the wrong type, a prediction is
            missing, or two rows have the same ``KEY``.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the predictions.parquet or .csv that a method wrote")
    if path.suffix not in _SUFFIXES:
        raise UserError(f"{path.name}: predictions are read from {' or '.join(_SUFFIXES)}")
    frame = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    table = checked_table(frame, path.name)
    _refuse_impossible(table, path.name)
    return table


_POSSIBLE = {"age": (0.0, 130.0, "years"), "heart_rate": (10.0, 400.0, "1/min"), "signal_quality": (0.0, 1.0, "0 to 1")}


def _refuse_impossible(table: pd.DataFrame, name: str) -> None:
    """Refuse what puts everybody into one wrong subgroup: birth years, RR intervals, per cent."""
    for column, (low, high, unit) in _POSSIBLE.items():
        numbers = pd.to_numeric(table[column].astype(object), errors="coerce")
        what = f"outside {low:g} to {high:g} ({unit}), such as {numbers[(numbers < low) | (numbers > high)].max():g};"
        _refuse((numbers < low) | (numbers > high), name, column, f"{what} give it in that unit")
        words = int((table[column].notna() & numbers.isna()).sum())
        if words and numbers.notna().any():
            raise UserError(f"{name}: {column} holds numbers and, in {words:,} rows, words; write one or the other")


def write_prediction_table(path: Path | str, frame: pd.DataFrame) -> Path:
    """Write the rows that have a prediction atomically as Parquet, or as CSV by the suffix; equal tables, equal bytes.

    Raises:
        UserError: If pyarrow is wanted and not installed.
        ValueError: If a subject is no keyed hash, or the suffix is another.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"{path.name}: predictions are written as {' or '.join(_SUFFIXES)}")
    if not all(HASH.fullmatch(subject) for subject in frame["subject"].unique()):
        raise ValueError("subjects must be keyed hashes of 32 hex digits, never ids of the source")
    frame = frame[frame["prediction"].notna()]
    kept = frame[[name for name in COLUMNS if name in frame and (name in REQUIRED or _says_something(frame[name]))]]
    with replace_atomically(path) as temporary:
        if path.suffix == ".csv":
            kept.to_csv(temporary, index=False)
        else:
            table = pa.Table.from_pandas(kept, preserve_index=False).replace_schema_metadata(None)
            parquet.write_table(table, temporary, compression="zstd")
    return path


def _says_something(column: pd.Series) -> bool:
    return bool((column > 0).any() if column.name == "recording" else column.notna().any())


def unread_note(path: Path) -> list[str]:
    """Say which columns of a table are not read, each with the name it may have been meant for; none if all are."""
    names = _names_of_csv(path) if path.suffix == ".csv" else list(parquet.read_schema(path, memory_map=False).names)
    found = []
    for name in (name for name in names if name not in COLUMNS):
        close = difflib.get_close_matches(name.strip().lower(), COLUMNS, n=1)
        found.append(f"{printable(name, 60)} (is it {close[0]}?)" if close else printable(name, 60))
    shown = ", ".join(found[:_MOST_SHOWN]) + (f" and {len(found) - _MOST_SHOWN:,} more" * (len(found) > _MOST_SHOWN))
    return [f"{path.name}: columns that are not read: {shown}."] if found else []


_MOST_SHOWN = 12


def _names_of_csv(path: Path) -> list[str]:
    with path.open("rb") as stream:
        line = stream.readline(_LONGEST_HEADER + 1)
    if len(line) > _LONGEST_HEADER:
        raise UserError(f"{path.name}: has no line break in {_LONGEST_HEADER:,} bytes; is it a table?")
    try:
        return next(csv.reader(line.decode("utf-8-sig").splitlines()[:1]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path.name}: its first line is no text in UTF-8 with commas; is it a table?") from error


def _refuse_twice(names: Sequence[str], path: Path) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1 and name in COLUMNS), None)
    if twice is not None:
        raise UserError(f"{path.name}: has two columns {twice}; keep one")


def _read_csv(path: Path) -> pd.DataFrame:
    """Read with Arrow, which refuses a row of more or fewer fields than the header, and lines that are too long."""
    try:
        names = _names_of_csv(path)
        _refuse_twice(names, path)
        word = pa.dictionary(pa.int32(), pa.string())
        convert = arrow_csv.ConvertOptions(
            include_columns=[name for name in names if name in COLUMNS],
            column_types=dict.fromkeys(("subject", "target", "split", *TEXTS), word),
            null_values=_MISSING,
            strings_can_be_null=False,  # a method may be called "null"
        )
        quoted = arrow_csv.ParseOptions(newlines_in_values=True)  # else a quote never closed is sought to the end
        frame = arrow_csv.read_csv(path, parse_options=quoted, convert_options=convert).to_pandas()
    except (pa.ArrowException, ValueError, csv.Error) as error:
        reason = re.sub(r"(columns, got \d+).*", r"\1", _one_line(error))  # what follows is the row itself
        if "straddl" in reason:
            reason = "a line is longer than 1,000,000 bytes, or a quotation mark is never closed"
        raise UserError(f"{path.name}: cannot be read as CSV: {reason}") from error
    for column in {*NUMBERS, *EITHER, "truth", "prediction", "seed"} & set(frame.select_dtypes(object)):
        frame[column] = frame[column].where(~frame[column].isin(_MISSING), None)
    return frame


_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "None", "null", "NULL"]
"""How a number that is not known may be written."""


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        about = parquet.ParquetFile(path, memory_map=False)
        rows, size = about.metadata.num_rows, path.stat().st_size
        if rows > max(_FEW_ROWS, size):  # a prediction is some bytes of noise, which nothing can pack
            raise UserError(f"{path.name}: claims {rows:,} rows in {size:,} bytes; it is no table of predictions")
        _refuse_twice(about.schema_arrow.names, path)
        names = [name for name in about.schema_arrow.names if name in COLUMNS]
        texts = [name for name in ("subject", "target", "split", *TEXTS) if name in names]
        return parquet.read_table(path, columns=names, read_dictionary=texts).to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        raise UserError(f"{path.name}: cannot be read as Parquet: {_one_line(error)}") from error


_LONGEST_HEADER = 1_000_000
_FEW_ROWS = 1_000_000


def checked_table(frame: pd.DataFrame, name: str, *, gaps: bool = False) -> pd.DataFrame:
    """Check a frame as ``read_prediction_table`` does.

    Args:
        frame: The rows.
        name: For messages.
        gaps: Whether a prediction may be missing: its method could not predict the target, and is reported so.
    """
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        raise UserError(f"{name}: no column {', '.join(missing)}; a table of predictions has {', '.join(REQUIRED)}")
    if frame.empty:
        raise UserError(f"{name}: holds no rows")
    out: dict[str, Any] = {}
    for column in ("subject", "target", "split", *TEXTS):
        out[column] = _texts(frame, column, name)
    for column in ("truth", "prediction", "seed", *NUMBERS):
        out[column] = _numbers(frame, column, name)
    for column in EITHER:
        out[column] = frame.get(column, np.nan)
    table = pd.DataFrame(out)
    table["method"] = _filled(table["method"], DEFAULT_METHOD)
    table["kind"] = table["kind"].cat.rename_categories(lambda kind: _KIND_OF_LABEL.get(kind, kind))
    table["recording"] = table["recording"].fillna(0.0)
    _check_values(table, name, gaps)
    _refuse_names(table, name)
    table = table.astype({"seed": np.int64, "recording": np.int64})
    twice = table.duplicated(list(KEY))
    if twice.any():
        first = table[twice].iloc[0]
        raise UserError(
            f"{name}: {int(twice.sum()):,} rows repeat a subject, target, split, seed and method (first at row "
            f"{int(np.flatnonzero(twice)[0]) + 1}: {first['target']}, {first['split']}, seed {first['seed']}, "
            f"{first['method']}); keep one row each, or number a subject's recordings in a column recording"
        )
    _refuse_two_splits(table, name)
    return table


def _refuse_two_splits(table: pd.DataFrame, name: str) -> None:
    """Refuse a subject that one trained model has in two splits: thresholds or weights would know the test."""
    subject, split = table["subject"].cat, table["split"].cat
    there = np.zeros((len(subject.categories), len(split.categories)), dtype=bool)
    there[subject.codes.to_numpy(), split.codes.to_numpy()] = True
    several = there.sum(axis=1) > 1
    if not several.any():
        return
    rows = table[several[subject.codes.to_numpy()]]
    model = ["subject", "method", "protocol", "labels", "seed"]
    pairs = rows[[*model, "split"]].astype({"subject": str}).drop_duplicates()
    twice = pairs[pairs.duplicated(model, keep=False)]
    if len(twice):
        splits = " and ".join(sorted(set(twice["split"].astype(str))))
        raise UserError(
            f"{name}: {twice['subject'].nunique():,} subjects are in the splits {splits} of one method and seed; "
            "a subject belongs to one"
        )


def _check_values(table: pd.DataFrame, name: str, gaps: bool) -> None:
    """Refuse what no metric could be computed from."""
    wrong = np.isinf(table["prediction"]) if gaps else ~np.isfinite(table["prediction"])
    _refuse(wrong, name, "prediction", "missing or infinite; leave the row out instead")
    _refuse(np.isinf(table["truth"]), name, "truth", "infinite; leave a missing truth empty")
    for column in ("truth", "prediction"):  # whose squares are no numbers
        _refuse(table[column].abs() > _LARGEST, name, column, f"larger than {_LARGEST:g}; is it a missing value?")
    seed = table["seed"]
    _refuse(seed.isna() | (seed % 1 != 0) | (seed.abs() > _MOST_COUNT), name, "seed", "no whole number")
    for column in ("labels", "recording"):
        count = table[column]
        _refuse(count.notna() & ((count < 0) | (count % 1 != 0) | (count > _MOST_COUNT)), name, column, "no count")
    for column in ("age", "heart_rate"):
        _refuse(np.isinf(table[column]), name, column, "infinite; leave it empty where it is unknown")
    _refuse(table["event"].notna() & ~table["event"].isin((0.0, 1.0)), name, "event", "neither 0 nor 1")
    _refuse(table["time"].notna() & ~(table["time"] >= 0), name, "time", "below 0")
    for column, allowed in (("split", SPLITS), ("kind", tuple(TASKS)), ("ended", ENDS[1:])):
        values = table[column]
        wrong = values.notna() & ~values.isin(allowed)
        if wrong.any():
            raise UserError(f"{name}: {column} is '{values[wrong].iloc[0]}'; it must be one of {', '.join(allowed)}")
    for column in ("subject", "target", "split"):
        _refuse(table[column].isna(), name, column, "empty")


def _refuse_names(table: pd.DataFrame, name: str) -> None:
    """Refuse a target that is called like a mean, names longer than any, and tasks that no file can be named after."""
    if MEAN in set(table["target"].cat.categories):
        raise UserError(f"{name}: a target is called '{MEAN}', which stands for means over targets; rename it")
    for task in table["task"].cat.categories:
        if Path(task).name != task or printable(task, LONGEST_NAME) != task:
            raise UserError(f"{name}: task is '{printable(task, 60)}', which no figure can be named after; rename it")
    for column in ("subject", "target", *TEXTS):
        longest = max(map(len, map(str, table[column].cat.categories)), default=0)
        if longest > _LONGEST_TEXT:
            raise UserError(f"{name}: column {column} holds a text of {longest:,} characters; at most {_LONGEST_TEXT}")


_LONGEST_TEXT = 1000
_LARGEST = 1e100
_MOST_COUNT = 2.0**53  # beyond it, float64 skips whole numbers


def _refuse(wrong: pd.Series, name: str, column: str, what: str) -> None:
    count = int(wrong.sum())
    if count:
        row = int(np.flatnonzero(wrong)[0]) + 1
        raise UserError(f"{name}: {column} is {what} (in {count:,} rows, first row {row})")


def _texts(frame: pd.DataFrame, column: str, name: str) -> pd.Series:
    if column not in frame:
        return pd.Series(pd.Categorical.from_codes(np.full(len(frame), -1), categories=[]), index=frame.index)
    try:
        values = frame[column].astype("category").cat.remove_unused_categories()
    except TypeError as error:  # lists and the like
        raise UserError(f"{name}: column {column} holds {frame[column].dtype}; it must hold text") from error
    if pd.api.types.is_numeric_dtype(values.cat.categories) and column != "subject" and len(values.cat.categories):
        raise UserError(f"{name}: column {column} holds numbers; it must hold text")
    # Each distinct text is looked at once: a table has millions of rows.
    # "mae " is no other method than "mae".
    texts = [_as_text(value).strip() for value in values.cat.categories]
    order = sorted(set(texts) - {""})
    place = {text: k for k, text in enumerate(order)}
    codes = np.array([*(place.get(text, -1) for text in texts), -1])[values.cat.codes.to_numpy()]
    return pd.Series(pd.Categorical.from_codes(codes, categories=order), index=frame.index)


def _as_text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _numbers(frame: pd.DataFrame, column: str, name: str) -> pd.Series:
    if column not in frame:
        return pd.Series(np.nan, index=frame.index)
    values = frame[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype):
        raise UserError(f"{name}: column {column} holds dates or times of day; it must hold numbers")
    try:
        numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:  # lists, complex numbers
        raise UserError(f"{name}: column {column} holds {values.dtype}; it must hold numbers") from error
    wrong = numbers.isna() & values.notna()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0]) + 1
        raise UserError(f"{name}: column {column} holds text (first in row {row}); it must hold numbers")
    return numbers


def _filled(values: pd.Series, default: str) -> pd.Series:
    if not values.isna().any():
        return values
    return values.cat.add_categories([default] if default not in values.cat.categories else []).fillna(default)


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()), 160)
