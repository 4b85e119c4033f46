"""Every choice a preparation takes, in one place: the command line is made of these fields, and the run reads them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.option_checks import folder_to_write
from ecgcmr.parallel import BACKENDS
from ecgcmr.preparation.cine_options import CONTENTS, CROPS, CineOptions
from ecgcmr.preparation.ecg import SHORT_CHOICES, WINDOW_CHOICES, StandardOptions
from ecgcmr.preparation.named_collections import collection_names, named_collection
from ecgcmr.preparation.t_end import DEFAULT_T_END, T_ENDS

RECORDINGS = ("first", "all")
DEFAULT_ECHO_DAYS, LONGEST_ECHO_DAYS = 30, 3650
INPUTS, ECG, CMR, LABELS, RUNNING = ("inputs", "ECG", "CMR", "labels and splits", "running")
"""Groups of options."""


@dataclass(frozen=True)
class Flag:
    """One option of the command line.

    Attributes:
        name: Such as ``--ecg``.
        group: Under which the help lists it.
        help: What it means; the default is added where there is one.
        details: Further arguments of ``argparse.ArgumentParser.add_argument``.
    """

    name: str
    group: str
    help: str
    details: Mapping[str, Any] = field(default_factory=dict)


def _option(group: str, help: str, default: Any = MISSING, name: str = "", **details: Any) -> Any:  # noqa: A002
    return field(default=default, metadata={"flag": Flag(name, group, help, details)})


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day; write it as 2023-10-31") from None


def _argument(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise ArgumentTypeError(f"{text!r} is no argument; write it as name=value")
    return name, value


_MANY: dict[str, Any] = {"nargs": "+", "action": "extend"}
_FILE: dict[str, Any] = {"type": Path, "metavar": "FILE"}
_YAML: dict[str, Any] = {"type": Path, "metavar": "YAML"}

_STANDARD_FLAGS = {
    "short": Flag("--short", ECG, "what happens to recordings under ten seconds", {"choices": SHORT_CHOICES}),
    "window": Flag(
        "--window", ECG, "which ten seconds of longer recordings; all: a row for each", {"choices": WINDOW_CHOICES}
    ),
}
_CINE_FLAGS = {
    "content": Flag(
        "--content",
        CMR,
        "three: ES, mid-beat and ED of the middle slice; all: the whole cycle of that slice; volumes: ED and ES over "
        "the stack",
        {"choices": CONTENTS},
    ),
    "phases": Flag("--phases", CMR, "frames with all", {"type": int, "metavar": "N"}),
    "slices": Flag("--slices", CMR, "slices with volumes", {"type": int, "metavar": "N"}),
    "slice_distance_mm": Flag(
        "--slice-distance",
        CMR,
        "with volumes: slices so far apart from the first on, black ones at the end (default: spread over the stack)",
        {"type": float, "metavar": "MM"},
    ),
    "crop": Flag(
        "--crop",
        CMR,
        "how the heart is found; auto: segmentation, else motion, else the published place",
        {"choices": CROPS},
    ),
    "size": Flag("--size", CMR, "frame size", {"type": int, "metavar": "PX"}),
    "field_of_view_mm": Flag(
        "--field-of-view",
        CMR,
        "edge of the crop; a pixel is this divided by the size",
        {"type": float, "metavar": "MM"},
    ),
    "min_slices": Flag(
        "--min-slices",
        CMR,
        "skip image stacks of fewer slices; UK Biobank work takes 8",
        {"type": int, "metavar": "N"},
    ),
}


@dataclass(frozen=True)
class PrepareOptions:
    """What to prepare and how; what each field means, its help says, which is that of the command line."""

    out: Path = _option("", "folder to write to", type=folder_to_write, metavar="DIR", required=True)
    ecg: Path | None = _option(
        INPUTS,
        "folder of ECG files, searched with its subfolders, or a PTB-XL download",
        None,
        type=Path,
        metavar="DIR",
    )
    cmr: Path | None = _option(
        INPUTS,
        "folder of one folder of NIfTI files, or one DICOM zip, per subject; or a collection of images as downloaded",
        None,
        type=Path,
        metavar="DIR",
    )
    echo: Path | None = _option(
        INPUTS,
        "folder of the table of echocardiograms that goes with the ECGs, such as MIMIC-IV-ECHO",
        None,
        type=Path,
        metavar="DIR",
    )
    echo_days: float | None = _option(
        INPUTS,
        "an ECG gets the measurements of the nearest echocardiogram at most so many days away (default: "
        f"{DEFAULT_ECHO_DAYS})",
        None,
        type=float,
        metavar="DAYS",
    )
    ptbxl_plus: Path | None = _option(
        INPUTS,
        "folder of PTB-XL+, whose features over all leads together become labels of a PTB-XL download",
        None,
        type=Path,
        metavar="DIR",
    )
    tables: tuple[Path, ...] = _option(
        INPUTS,
        "phenotypes, covariates, diagnoses; where tables disagree, the first one stands",
        (),
        "--table",
        **_FILE,
        **_MANY,
    )
    key_file: Path | None = _option(
        INPUTS,
        "secret that subject ids are hashed with (default: ~/.config/ecgcmr/subject.key, made on first use)",
        None,
        **_FILE,
    )
    subjects: Path | None = _option(
        INPUTS,
        "table with columns file and subject; without it a file's name tells the subject",
        None,
        type=Path,
        metavar="CSV",
    )
    partial_subjects: bool = _option(
        INPUTS,
        "let --subjects speak of a part of the files, or of files that are not there; the others' names tell their "
        "subjects",
        False,
        action="store_true",
    )
    collection: str | None = _option(
        INPUTS,
        f"what the data set is: {', '.join(collection_names())} (see above), or a class of your own, "
        "package.module:Class (default: ptbxl for a PTB-XL download, else ukb)",
        None,
        metavar="NAME",
    )
    collection_args: tuple[tuple[str, str], ...] = _option(
        INPUTS, "arguments of your collection's class", (), type=_argument, metavar="NAME=VALUE", **_MANY
    )
    limit: int | None = _option(
        INPUTS,
        "for a trial: at most so many recordings, of whole subjects chosen by their hashes",
        None,
        type=int,
        metavar="N",
    )
    sample: float | None = _option(
        INPUTS,
        "for a trial: this share of the subjects, such as 0.01; a smaller one lies in a larger one",
        None,
        type=float,
        metavar="FRACTION",
    )
    reader: str | None = _option(
        ECG, "a reader of your own for ECG files, package.module:Class, asked first", None, metavar="CLASS"
    )
    declaration: Path | None = _option(
        ECG, "leads, unit and sampling_rate of CSV, NPY, MATLAB and Parquet files", None, "--declare", **_YAML
    )
    cleaning: str = _option(
        ECG, "published, neurokit, bandpass, none, or a YAML file of steps", "published", metavar="NAME|YAML"
    )
    standard: StandardOptions = field(
        default_factory=StandardOptions, metadata={"flags": _STANDARD_FLAGS, "builds": StandardOptions}
    )
    recordings: str = _option(ECG, "one recording a subject or a row for each", "first", choices=RECORDINGS)
    beats: bool = _option(
        ECG, "store no R peaks, waves, intervals and lead quality (faster)", True, "--no-beats", action="store_false"
    )
    t_end: str | None = _option(
        ECG,
        f"where T ends, and QT with it: at 5 %% of its height, or by the tangent at its flank (default: "
        f"{DEFAULT_T_END})",
        None,
        choices=T_ENDS,
    )
    cine: CineOptions = field(default_factory=CineOptions, metadata={"flags": _CINE_FLAGS, "builds": CineOptions})
    view: str = _option(
        CMR, "short axis, or a long-axis view of field 20208", "sax", choices=("sax", "2ch", "3ch", "4ch")
    )
    labels: Path | None = _option(LABELS, "labels of your own, by the columns of the tables", None, **_YAML)
    codes: Path | None = _option(LABELS, "further diseases as lists of ICD-10 prefixes", None, **_YAML)
    censor_date: date | None = _option(
        LABELS,
        "day up to which diagnoses are known (default: the latest diagnosis in the tables)",
        None,
        type=_day,
        metavar="YYYY-MM-DD",
    )
    stratify: tuple[str, ...] = _option(
        LABELS, "give the splits equal shares of these labels, such as sex cad_ever", (), metavar="LABEL", **_MANY
    )
    withdrawn: Path | None = _option(LABELS, "subjects to leave out from now on, one id a line", None, **_FILE)
    workers: int | None = _option(RUNNING, "processes (default: one per processor)", None, type=int, metavar="N")
    backend: str = _option(RUNNING, "where tasks run", "local", choices=BACKENDS)
    scheduler: str | None = _option(RUNNING, "Dask scheduler, such as tcp://10.0.0.1:8786", None, metavar="ADDRESS")
    shard_size: int = _option(RUNNING, "most rows of a shard", 512, type=int, metavar="N")

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise UserError(f"--shard-size {self.shard_size}: must be at least 1")
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers {self.workers}: must be at least 1")
        if self.t_end is not None and not self.beats:
            raise UserError("--t-end: belongs to stored beats; leave it out, or --no-beats")
        if self.censor_date is not None and self.censor_date > date.today():
            raise UserError(f"--censor-date {self.censor_date}: lies in the future; name the day of the data's release")
        if self.partial_subjects and self.subjects is None:
            raise UserError("--partial-subjects: goes with --subjects, the table of files and subjects")
        if self.collection_args and not self.collection_is_foreign:
            raise UserError("--collection-args: goes with --collection package.module:Class, whose arguments it gives")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"--limit {self.limit}: must be at least 1")
        if self.sample is not None and not 0 < self.sample <= 1:
            raise UserError(f"--sample {self.sample:g}: must lie above 0, and be at most 1")
        if self.echo_days is not None and not 0 < self.echo_days <= LONGEST_ECHO_DAYS:
            raise UserError(f"--echo-days {self.echo_days:g}: must lie above 0, and be at most {LONGEST_ECHO_DAYS}")
        if self.echo_days is not None and self.echo is None:
            raise UserError("--echo-days: goes with --echo, the folder of the echocardiograms' measurements")
        names = [name for name, _ in self.collection_args]
        if len(set(names)) < len(names):
            raise UserError(f"--collection-args: {max(names, key=names.count)} is given twice; keep one")
        for option, value, choices in (
            ("t-end", self.t_end or DEFAULT_T_END, T_ENDS),
            ("recordings", self.recordings, RECORDINGS),
            ("backend", self.backend, BACKENDS),
        ):
            if value not in choices:
                raise UserError(f"--{option} {value}: choose one of {', '.join(choices)}")

    @property
    def collection_is_foreign(self) -> bool:
        """Whether the collection is a class of the user's own."""
        return self.collection is not None and named_collection(self.collection) is None

    def flag_name(self, field_name: str) -> str:
        """Return the option of a field, such as ``--table`` of ``tables``."""
        (item,) = (item for item in fields(self) if item.name == field_name)
        return option_flags(item)[field_name].name

    def refuse_unused(self, names: tuple[str, ...], why: str) -> None:
        """Refuse options that the collection does not use.

        Args:
            names: Fields.
            why: The reason.

        Raises:
            UserError: One of them is given.
        """
        for item in fields(self):
            if item.name in names and getattr(self, item.name) != item.default:
                raise UserError(f"{option_flags(item)[item.name].name}: {why}")


def option_flags(item: Field[Any]) -> dict[str, Flag]:
    """Return the options of one field of ``PrepareOptions``: name of the value -> option."""
    if "flags" in item.metadata:
        return dict(item.metadata["flags"])
    flag: Flag = item.metadata["flag"]
    name = flag.name or "--" + item.name.replace("_", "-")
    return {item.name: Flag(name, flag.group, flag.help, flag.details)}
