"""From what was found to what will be written: members in a fixed order, splits, labels and the cohort's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_modules.layout import CMRLayout, ECGLayout, Label, Layout
from ecgcmr.errors import UserError
from ecgcmr.formats.nifti import CINE, find_image, short_axis_files
from ecgcmr.formats.ptbxl import PTBXLRecord, is_ptbxl, read_ptbxl
from ecgcmr.preparation.cine import CINE_FRAMES, TWO_PHASE_FRAMES, CineOptions
from ecgcmr.preparation.ecg import CLIP_DEVIATIONS
from ecgcmr.preparation.label_table import (
    IMAGING_VISIT,
    LabelCounts,
    label_ptbxl,
    label_subjects,
    read_label_table,
)
from ecgcmr.preparation.labels import LABELS, PTBXL_LABELS
from ecgcmr.preparation.shard_task import Member
from ecgcmr.preparation.sources import Found, Source, find_ecgs, find_short_axis, require_folder
from ecgcmr.preparation.splits import assign_split, load_key, subject_hash

RECIPE_VERSION = 1
"""Raised whenever the same parameters would give other arrays."""

BASELINE = {"lambda_": 1e7, "p": 0.3, "solves": 5}
SPLIT_FRACTIONS = (0.7, 0.15, 0.15)


@dataclass(frozen=True)
class Row:
    """A member together with the names under which the report speaks of its files.

    Attributes:
        member: What will be prepared.
        ecg_name: Name of the ECG file, or empty.
        cmr_name: Name of the folder of images, or empty.
    """

    member: Member
    ecg_name: str = field(repr=False)
    cmr_name: str = field(repr=False)


@dataclass
class Plan:
    """All that the run needs.

    Attributes:
        rows: In the order in which they will be written.
        layout: Of every shard.
        cine: How to make frames; None without images.
        files: Names of all files that will be read or were read.
        skipped: (name, reason) of files left out so far.
        ignored: Names of files of no kind this program reads.
        counts: Implausible and unreadable label values.
    """

    rows: list[Row]
    layout: Layout
    cine: CineOptions | None
    files: list[str]
    skipped: list[tuple[str, str]]
    ignored: list[str]
    counts: LabelCounts


def make_plan(
    ecg: Path | None, cmr: Path | None, tables: Sequence[Path], key_file: Path | None, size: int, min_slices: int
) -> Plan:
    """Search the folders, read the tables and decide what becomes of every subject.

    Rows are ordered by keyed hash, so that their order tells nothing and every shard is a mixture.

    Args:
        ecg: Folder of ECG files or a PTB-XL download.
        cmr: Folder of subjects' folders.
        tables: Tables of phenotypes, covariates and diagnoses.
        key_file: Secret for the hashes; None for the default one.
        size: Frame size in pixels.
        min_slices: Least number of slices.

    Raises:
        UserError: A path is wrong, or neither ECGs nor images were found.
    """
    if ecg is None and cmr is None:
        raise UserError("nothing to prepare: name a folder with --ecg or --cmr")
    for table in tables:
        if not table.is_file():
            raise UserError(f"--table {table}: no such file")
    records = read_ptbxl(ecg) if ecg is not None and is_ptbxl(require_folder(ecg, "--ecg")) else []
    found_ecg = find_ecgs(require_folder(ecg, "--ecg")) if ecg is not None and not records else Found()
    found_cmr = find_short_axis(require_folder(cmr, "--cmr")) if cmr is not None else Found()
    ids = sorted({*found_ecg.sources, *found_cmr.sources})
    if not ids and not records:
        raise UserError(_nothing_found(ecg, cmr))
    key = load_key(key_file)
    plan = Plan(
        rows=[],
        layout=Layout(None, None),
        cine=_cine_options(found_cmr, size, min_slices),
        files=[],
        skipped=[*found_ecg.skipped, *found_cmr.skipped],
        ignored=[*found_ecg.ignored, *found_cmr.ignored],
        counts=LabelCounts(),
    )
    schema = _schema(bool(records), bool(ids) or bool(tables))
    labels = _label(plan, ids, found_ecg, tables)
    plan.rows += [_row(i, found_ecg, found_cmr, key, _widen(labels[i], LABELS, schema)) for i in ids]
    folds, rule = _fold_splits(records)
    plan.rows += [_ptbxl_row(record, ecg, folds, key, schema) for record in records if ecg is not None]
    plan.rows.sort(key=lambda row: (row.member.subject, row.ecg_name, row.cmr_name))
    plan.files[:0] = [name for row in plan.rows for name in _files(row)]
    plan.layout = _layout(plan, schema, rule)
    return plan


def _nothing_found(ecg: Path | None, cmr: Path | None) -> str:
    wanted = []
    if ecg is not None:
        wanted.append(f"no CardioSoft XML or WFDB .hea file in --ecg {ecg}")
    if cmr is not None:
        wanted.append(f"no folder with sa.nii.gz or sa_ED.nii.gz in --cmr {cmr}")
    return f"nothing to prepare: {' and '.join(wanted)}"


def _cine_options(found: Found, size: int, min_slices: int) -> CineOptions | None:
    """One set of frames for the whole cohort: with the mid-beat frame if any folder has a cine."""
    if not found.sources:
        return None
    has_cine = any(find_image(source.path, CINE) is not None for source in found.sources.values())
    return CineOptions(frames=CINE_FRAMES if has_cine else TWO_PHASE_FRAMES, size=size, min_slices=min_slices)


def _schema(has_ptbxl: bool, has_biobank: bool) -> tuple[Label, ...]:
    """Label columns: PTB-XL's, the biobank's, or both without repetition."""
    schema = list(LABELS) if has_biobank else []
    if has_ptbxl:
        schema += [label for label in PTBXL_LABELS if label not in schema]
    return tuple(schema)


def _widen(
    values: npt.NDArray[np.float32], labels: Sequence[Label], schema: Sequence[Label]
) -> npt.NDArray[np.float32]:
    """Put values of some labels into a vector of all labels, NaN elsewhere."""
    if tuple(labels) == tuple(schema):
        return values
    value_of = {label.name: value for label, value in zip(labels, values, strict=True)}
    return np.array([value_of.get(label.name, np.nan) for label in schema], dtype=np.float32)


def _label(
    plan: Plan, ids: Sequence[str], found_ecg: Found, tables: Sequence[Path]
) -> dict[str, npt.NDArray[np.float32]]:
    """Read the tables and label the subjects, each by the visit at which its ECG was taken."""
    read = []
    for path in tables:
        plan.files.append(path.name)
        try:
            read.append(read_label_table(path, ids))
        except UserError as error:
            plan.skipped.append((path.name, str(error).removeprefix(f"{path.name}: ")))
    visit_of = {i: found_ecg.sources[i].visit if i in found_ecg.sources else IMAGING_VISIT for i in ids}
    labels: dict[str, npt.NDArray[np.float32]] = {}
    for visit in sorted(set(visit_of.values())):
        group = [i for i in ids if visit_of[i] == visit]
        labels.update(zip(group, label_subjects(group, read, visit, plan.counts), strict=True))
    return labels


def _row(subject: str, found_ecg: Found, found_cmr: Found, key: bytes, labels: npt.NDArray[np.float32]) -> Row:
    ecg: Source | None = found_ecg.sources.get(subject)
    cmr: Source | None = found_cmr.sources.get(subject)
    hashed = subject_hash(subject, key)
    member = Member(
        subject=hashed,
        split=assign_split(hashed, SPLIT_FRACTIONS),
        labels=labels,
        ecg=ecg.path if ecg else None,
        cmr=cmr.path if cmr else None,
    )
    return Row(member, ecg.name if ecg else "", cmr.name if cmr else "")


def _fold_splits(records: Sequence[PTBXLRecord]) -> tuple[dict[int, str], dict[str, object]]:
    """The highest fold tests, the next validates, the rest train; with fewer than three folds the hash decides."""
    folds = sorted({record.fold for record in records})
    if len(folds) < 3:
        return {}, {"by": "hash", "fractions": list(SPLIT_FRACTIONS)}
    splits = {**dict.fromkeys(folds[:-2], "train"), folds[-2]: "val", folds[-1]: "test"}
    return splits, {"by": "strat_fold", "val": folds[-2], "test": folds[-1]}


def _ptbxl_row(record: PTBXLRecord, folder: Path, folds: dict[int, str], key: bytes, schema: Sequence[Label]) -> Row:
    hashed = subject_hash(record.patient_id, key)
    member = Member(
        subject=hashed,
        split=folds.get(record.fold) or assign_split(hashed, SPLIT_FRACTIONS),
        labels=_widen(label_ptbxl(record), PTBXL_LABELS, schema),
        ecg=record.path,
        cmr=None,
    )
    inside = record.path.is_relative_to(folder)
    return Row(member, record.path.relative_to(folder).as_posix() if inside else record.path.name, "")


def _files(row: Row) -> list[str]:
    names = [row.ecg_name] if row.ecg_name else []
    if row.member.cmr is not None:
        names += [f"{row.cmr_name}/{path.name}" for path in short_axis_files(row.member.cmr)]
    return names


def _layout(plan: Plan, schema: tuple[Label, ...], split_rule: dict[str, object]) -> Layout:
    preparation: dict[str, object] = {"version": RECIPE_VERSION, "splits": split_rule}
    ecg = cmr = None
    if any(row.member.ecg is not None for row in plan.rows):
        ecg = ECGLayout()
        preparation["ecg"] = {"clip_deviations": CLIP_DEVIATIONS, "baseline": BASELINE, "z_score": "lead groups"}
    if plan.cine is not None:
        cmr = CMRLayout(plan.cine.frames, plan.cine.size, plan.cine.size, plan.cine.spacing_mm)
        preparation["cmr"] = {**asdict(plan.cine), "slice": "middle"}
    return Layout(ecg, cmr, schema, preparation)
