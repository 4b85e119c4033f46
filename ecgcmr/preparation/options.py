"""Every choice a preparation takes, in one place: the command fills it, the run reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.parallel import BACKENDS
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.ecg import StandardOptions
from ecgcmr.preparation.t_end import DEFAULT_T_END, T_ENDS

RECORDINGS = ("first", "all")


@dataclass(frozen=True)
class PrepareOptions:
    """What to prepare and how.

    Attributes:
        out: Folder to write to.
        ecg: Folder of ECG files, or a PTB-XL download.
        cmr: Folder of subjects' NIfTI folders or of DICOM zips.
        tables: Tables of phenotypes, covariates and diagnoses; where they disagree, the first one stands.
        key_file: Secret for the subjects' hashes; None for the default one, made on first use.
        subjects: Table of file names and subjects; None takes the subject from the file's name.
        partial_subjects: Whether that table may speak of a part of the files, or of files that are not there.
        recordings: ``first``: one ECG a subject, the imaging visit's first; ``all``: a row for each.
        declaration: YAML file that tells leads, unit and rate of CSV, NPY and Parquet files.
        cleaning: Name of a cleaning or YAML file of its steps.
        standard: Length, short and long recordings.
        beats: Whether R peaks, waves, intervals and lead quality are stored.
        t_end: Where T ends and with it QT, one of ``ecgcmr.preparation.t_end.T_ENDS``; None takes the default one.
        cine: How frames are made.
        view: Which images: ``sax`` or a long-axis view.
        codes: YAML file of further diseases.
        censor_date: Day up to which diagnoses are known; None takes the latest one in the tables.
        stratify: Labels whose distribution the splits shall share.
        withdrawn: File of subjects to leave out.
        shard_size: Most rows of a shard.
        workers: Processes; None for one per processor.
        backend: ``local`` or ``dask``.
        scheduler: Address of the Dask scheduler.
    """

    out: Path
    ecg: Path | None = None
    cmr: Path | None = None
    tables: tuple[Path, ...] = ()
    key_file: Path | None = None
    subjects: Path | None = None
    partial_subjects: bool = False
    recordings: str = "first"
    declaration: Path | None = None
    cleaning: str = "published"
    standard: StandardOptions = field(default_factory=StandardOptions)
    beats: bool = True
    t_end: str | None = None
    cine: CineOptions = field(default_factory=CineOptions)
    view: str = "sax"
    codes: Path | None = None
    censor_date: date | None = None
    stratify: tuple[str, ...] = ()
    withdrawn: Path | None = None
    shard_size: int = 512
    workers: int | None = None
    backend: str = "local"
    scheduler: str | None = None

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
        for option, value, choices in (
            ("t-end", self.t_end or DEFAULT_T_END, T_ENDS),
            ("recordings", self.recordings, RECORDINGS),
            ("backend", self.backend, BACKENDS),
        ):
            if value not in choices:
                raise UserError(f"--{option} {value}: choose one of {', '.join(choices)}")
