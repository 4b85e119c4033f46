"""From what was found to what will be written: members, their splits and labels, and the cohort's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.nifti import STEMS, find_image
from ecgcmr.formats.ptbxl import PTBXLRecord, is_ptbxl, read_ptbxl
from ecgcmr.formats.short_axis_file import cmr_files
from ecgcmr.formats.signal_file import SignalDeclaration, load_declaration
from ecgcmr.preparation.beats import MEASUREMENTS
from ecgcmr.preparation.candidates import Candidate, note_owners, remarks_on
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.earlier_run import EarlierRun, check_key_by_subjects, key_for
from ecgcmr.preparation.ecg import StandardOptions
from ecgcmr.preparation.folder_checks import check_folders
from ecgcmr.preparation.label_table import IMAGING_VISIT, LabelCounts, label_ptbxl, label_subjects
from ecgcmr.preparation.labels import DISEASES, PTBXL_LABELS, Disease, label_schema, load_code_lists
from ecgcmr.preparation.nothing_found import nothing_found
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.rows import Member
from ecgcmr.preparation.sources import Found, Source, find_cmr, find_ecgs, require_folder
from ecgcmr.preparation.splits import assign_splits, subject_hash
from ecgcmr.preparation.strata import strata_of
from ecgcmr.preparation.subject_key import key_fingerprint
from ecgcmr.preparation.subject_matching import SubjectMatcher
from ecgcmr.preparation.subject_table import read_subjects
from ecgcmr.preparation.t_end import DEFAULT_T_END, recipe
from ecgcmr.preparation.table_use import TableUse, read_tables, use_of_table
from ecgcmr.preparation.withdrawal import Withdrawal
from ecgcmr.shards.layout import CMRLayout, ECGLayout, Label, Layout

RECIPE_VERSION = 3
"""Raised whenever the same parameters would give other arrays."""

SPLIT_FRACTIONS = (0.7, 0.15, 0.15)
MAX_BEATS = 64
"""Beats kept of a recording: ten seconds at 380 beats a minute."""


@dataclass(frozen=True)
class Row:
    """A member together with the names under which the report speaks of its files.

    Attributes:
        member: What will be prepared.
        ecg_name: Name of the ECG file, or empty.
        cmr_name: Name of the folder or zip of images, or empty.
    """

    member: Member
    ecg_name: str = field(repr=False)
    cmr_name: str = field(repr=False)


@dataclass
class Plan:
    """All that the run needs.

    Attributes:
        rows: By row id, in the order in which new ones are put into shards.
        layout: Of every shard.
        standard: Length of recordings.
        cine: How to make frames; None without images.
        view: Which images.
        declaration: Of files that do not tell leads, unit and rate; None if not given.
        files: Names of all files that will be read or were read.
        skipped: (name, reason) of files left out so far.
        withdrawn: Hashes of all withdrawn subjects.
        key: Fingerprint of the secret key.
        file_owner: Keyed hash of a file's name -> its subject's hash, also of those who have withdrawn.
        counts: What was wrong with label values.
        tables: What became of each table.
        without_row: Subjects with an ECG or images that stand in no table.
        remarks: What the user should know of the run as a whole.
    """

    rows: dict[str, Row]
    layout: Layout
    standard: StandardOptions
    cine: CineOptions | None
    view: str
    declaration: SignalDeclaration | None
    files: list[str]
    skipped: list[tuple[str, str]]
    withdrawn: list[str]
    key: str = ""
    file_owner: dict[str, str] = field(default_factory=dict)
    counts: LabelCounts = field(default_factory=LabelCounts)
    tables: list[TableUse] = field(default_factory=list)
    without_row: int = 0
    remarks: list[str] = field(default_factory=list)


def make_plan(options: PrepareOptions, earlier: EarlierRun) -> Plan:
    """Search the folders, read the tables and decide what becomes of every subject.

    Rows are ordered by keyed hash, so that their order tells nothing and every shard is a mixture.

    Args:
        options: What to prepare.
        earlier: What an earlier run left: who has withdrawn, the splits that stratified ones keep, its key.

    Raises:
        UserError: A path is wrong, neither ECGs nor images were found, a table or the list of those who withdrew
            matches nobody, or the key is another one than the folder was made with.
    """
    check_folders(options)
    for table in options.tables:
        if not table.is_file():
            raise UserError(f"--table {table}: no such file")
    diseases = (*DISEASES, *(load_code_lists(options.codes) if options.codes is not None else ()))
    subjects = (
        None if options.subjects is None else SubjectMatcher(options.subjects.name, read_subjects(options.subjects))
    )
    withdrawal = Withdrawal.read(options.withdrawn)
    ecg = None if options.ecg is None else require_folder(options.ecg, "--ecg")
    records = read_ptbxl(ecg) if ecg is not None and is_ptbxl(ecg) else []
    declared = options.declaration is not None
    found_ecg = find_ecgs(ecg, subjects, declared=declared) if ecg is not None and not records else Found()
    if options.recordings == "first":
        found_ecg.keep_first()
    cmr = None if options.cmr is None else require_folder(options.cmr, "--cmr")
    found_cmr = find_cmr(cmr, options.view, subjects) if cmr is not None else Found()
    ids = sorted({*found_ecg.sources, *found_cmr.sources})
    if not ids and not records:
        raise UserError(nothing_found(options, [*found_ecg.skipped, *found_cmr.skipped]))
    matched = _check_options_used(options, ids, subjects)
    key = key_for(earlier, options.key_file)
    schema = _schema(bool(records), bool(ids) or bool(options.tables), diseases)
    plan = Plan(
        rows={},
        layout=Layout(None, None),
        standard=options.standard,
        cine=_cohort_cine(found_cmr, options) if found_cmr.sources else None,
        view=options.view,
        declaration=None if options.declaration is None else load_declaration(options.declaration),
        files=[],
        skipped=[*found_ecg.skipped, *found_cmr.skipped],
        withdrawn=sorted(earlier.withdrawn | withdrawal.hashes(key)),
        key=key_fingerprint(key),
        remarks=[matched] if matched else [],
    )
    labels = _label(plan, ids, found_ecg, options, diseases)
    candidates = _candidates(ids, labels, found_ecg, found_cmr, key)
    if ecg is not None:
        candidates += _ptbxl_candidates(records, ecg, key, schema)
    everybody = {candidate.subject for candidate in candidates}
    check_key_by_subjects(earlier, options.key_file, everybody)
    withdrawal.check(key, everybody | earlier.known, "the present or earlier files")
    plan.file_owner, moved = note_owners(candidates, set(plan.withdrawn), earlier, key)
    if moved:
        plan.remarks.append(f"{moved} files are of another subject than in the earlier run; has --subjects changed?")
    candidates = _without_withdrawn(candidates, plan)
    folds, rule = _fold_splits(records)
    split_of = _splits(candidates, folds, options.stratify, schema, earlier.split_of)
    plan.remarks += remarks_on(candidates, split_of, earlier)
    if options.stratify:
        rule = {**rule, "stratified_by": list(options.stratify)}
    for candidate in sorted(candidates, key=lambda candidate: (candidate.subject, candidate.row)):
        plan.rows[candidate.row] = _row(candidate, split_of[candidate.subject])
    used = [name for row in plan.rows.values() for name in _files(row, options.view)]
    plan.files = list(dict.fromkeys([*used, *plan.files, *(name for name, _ in plan.skipped)]))
    has_ecg = any(row.member.ecg is not None for row in plan.rows.values())
    plan.layout = layout_of(options, plan.cine, schema, rule, has_ecg=has_ecg)
    return plan


def layout_of(
    options: PrepareOptions,
    cine: CineOptions | None,
    schema: Sequence[Label],
    split_rule: Mapping[str, object],
    *,
    has_ecg: bool = True,
) -> Layout:
    """Describe a cohort: what its arrays are and every parameter that shaped them.

    Args:
        options: The choices made.
        cine: How frames are made; None without images.
        schema: Labels that come from tables.
        split_rule: How subjects were divided.
        has_ecg: Whether there are ECGs.
    """
    preparation: dict[str, object] = {"version": RECIPE_VERSION, "splits": dict(split_rule)}
    ecg = cmr = None
    labels = tuple(schema)
    if has_ecg:
        cleaning = Cleaning.from_name(options.cleaning)
        ecg = ECGLayout(
            sampling_rate=options.standard.sampling_rate,
            samples=options.standard.samples,
            unit=cleaning.unit,
            max_beats=MAX_BEATS if options.beats else 0,
            quality=options.beats,
        )
        preparation["ecg"] = {
            "cleaning": cleaning.to_dict(),
            "short": options.standard.short,
            "window": options.standard.window,
        }
        if options.beats:
            labels += MEASUREMENTS
            preparation["beats"] = recipe(options.t_end or DEFAULT_T_END)
    if cine is not None:
        cmr = CMRLayout(cine.frame_names, cine.size, cine.size, cine.spacing_mm, slices=cine.stored_slices)
        preparation["cmr"] = {**asdict(cine), "view": options.view}
    return Layout(ecg, cmr, labels, preparation)


def split_rule_by_hash() -> dict[str, object]:
    """Describe the division by the subject's hash alone."""
    return {"by": "hash", "fractions": list(SPLIT_FRACTIONS)}


def _cohort_cine(found: Found, options: PrepareOptions) -> CineOptions:
    """One set of frames for the whole cohort: two phases alone if no source has a whole cine."""
    sources = [source for several in found.sources.values() for source in several]
    stem = STEMS[options.view]
    has_cine = any(source.path.is_file() or find_image(source.path, stem) is not None for source in sources)
    return options.cine if has_cine else options.cine.for_two_phases()


def _schema(has_ptbxl: bool, has_biobank: bool, diseases: Sequence[Disease]) -> tuple[Label, ...]:
    """Label columns: PTB-XL's, the biobank's, or both without repetition."""
    schema = list(label_schema(diseases)) if has_biobank else []
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
    plan: Plan, ids: Sequence[str], found_ecg: Found, options: PrepareOptions, diseases: Sequence[Disease]
) -> dict[tuple[str, int], npt.NDArray[np.float32]]:
    """Read the tables and label the subjects at each visit of theirs: (id, visit) -> labels."""
    plan.files += [path.name for path in options.tables]
    read = read_tables(options.tables, ids, diseases, options.censor_date)
    visits = {(i, source.visit) for i in ids for source in found_ecg.sources.get(i, [])}
    visits |= {(i, IMAGING_VISIT) for i in ids if i not in found_ecg.sources}
    labels: dict[tuple[str, int], npt.NDArray[np.float32]] = {}
    for visit in sorted({visit for _, visit in visits}):
        group = [i for i in ids if (i, visit) in visits]
        rows = label_subjects(group, read, visit, plan.counts, diseases, options.censor_date)
        labels.update(zip(((i, visit) for i in group), rows, strict=True))
    plan.tables = [use_of_table(table, diseases, {visit for _, visit in visits}) for table in read]
    if read:
        plan.without_row = len(set(ids).difference(*(table.ids for table in read)))
    for table in read:
        for number, count in sorted(table.too_new.items()):
            plan.counts.dates[f"{number} after {table.newest} in {table.name}"] += count
    return labels


def _candidates(
    ids: Sequence[str],
    labels: Mapping[tuple[str, int], npt.NDArray[np.float32]],
    found_ecg: Found,
    found_cmr: Found,
    key: bytes,
) -> list[Candidate]:
    """One row a recording; images go with the subject's first one, which also is the row of a subject without ECG."""
    candidates = []
    for subject in ids:
        hashed = subject_hash(subject, key)
        images = found_cmr.sources.get(subject, [None])[0]
        for number, ecg in enumerate(found_ecg.sources.get(subject) or [None]):
            # The first row keeps its identity when a better recording or images arrive later.
            row = hashed if number == 0 else subject_hash(f"{subject}\n{ecg.name if ecg else ''}", key)
            visit = ecg.visit if ecg is not None else IMAGING_VISIT
            candidates.append(
                Candidate(row, hashed, labels[subject, visit], ecg, images if number == 0 else None),
            )
    return candidates


def _ptbxl_candidates(
    records: Sequence[PTBXLRecord], folder: Path, key: bytes, schema: Sequence[Label]
) -> list[Candidate]:
    candidates = []
    for record in records:
        inside = record.path.is_relative_to(folder)
        name = record.path.relative_to(folder).as_posix() if inside else record.path.name
        candidates.append(
            Candidate(
                row=subject_hash(f"{record.patient_id}\n{record.ecg_id}", key),
                subject=subject_hash(record.patient_id, key),
                labels=_widen(label_ptbxl(record), PTBXL_LABELS, schema),
                ecg=Source(record.patient_id, record.path, name),
                cmr=None,
                fold=record.fold,
            )
        )
    return candidates


def _check_options_used(options: PrepareOptions, ids: Sequence[str], subjects: SubjectMatcher | None) -> str | None:
    """Refuse options that would be ignored; return how a table of subjects matched, if not throughout."""
    if ids:
        return None if subjects is None else subjects.check(partial=options.partial_subjects)
    for option, given in (("--table", bool(options.tables)), ("--subjects", subjects is not None)):
        if given:
            raise UserError(f"{option}: is not used for a PTB-XL download, whose tables say it all; leave it out")
    return None


def _without_withdrawn(candidates: Sequence[Candidate], plan: Plan) -> list[Candidate]:
    withdrawn = set(plan.withdrawn)
    remaining = []
    for candidate in candidates:
        if candidate.withdrawn or candidate.subject in withdrawn:
            plan.skipped += [(source.name, "the subject has withdrawn") for source in candidate.sources]
        else:
            remaining.append(candidate)
    if not remaining:
        raise UserError("nothing to prepare: every subject has withdrawn")
    return remaining


def _fold_splits(records: Sequence[PTBXLRecord]) -> tuple[dict[int, str], dict[str, object]]:
    """The highest fold tests, the next validates, the rest train; with fewer than three folds the hash decides."""
    folds = sorted({record.fold for record in records})
    if len(folds) < 3:
        return {}, split_rule_by_hash()
    splits = {**dict.fromkeys(folds[:-2], "train"), folds[-2]: "val", folds[-1]: "test"}
    return splits, {"by": "strat_fold", "val": folds[-2], "test": folds[-1]}


def _splits(
    candidates: Sequence[Candidate],
    folds: Mapping[int, str],
    stratify: Sequence[str],
    schema: Sequence[Label],
    earlier: Mapping[str, str],
) -> dict[str, str]:
    """Give every subject one split: its fold's, or the hash's, within strata if asked."""
    by_fold = {c.subject: folds[c.fold] for c in candidates if c.fold is not None and c.fold in folds}
    others = {c.subject: c.labels for c in reversed(candidates) if c.subject not in by_fold}
    strata = None
    if stratify and others:
        table = np.stack(list(others.values()))
        try:
            strata = strata_of(list(others), table, schema, stratify)
        except UserError as error:
            raise UserError(f"--stratify: {error}") from error
    return by_fold | assign_splits(list(others), SPLIT_FRACTIONS, strata=strata, earlier=earlier)


def _row(candidate: Candidate, split: str) -> Row:
    ecg, cmr = candidate.ecg, candidate.cmr
    member = Member(
        row=candidate.row,
        subject=candidate.subject,
        split=split,
        labels=candidate.labels,
        ecg=ecg.path if ecg else None,
        cmr=cmr.path if cmr else None,
    )
    return Row(member, ecg.name if ecg else "", cmr.name if cmr else "")


def _files(row: Row, view: str) -> list[str]:
    names = [row.ecg_name] if row.ecg_name else []
    if row.member.cmr is not None:
        folder = row.member.cmr.is_dir()
        names += [f"{row.cmr_name}/{p.name}" if folder else row.cmr_name for p in cmr_files(row.member.cmr, view)]
    return names
