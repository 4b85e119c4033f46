"""From what was found to what will be written: members, their splits and labels, and the cohort's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats.ecg_reader import load_reader
from ecgcmr.formats.record import MILLIVOLTS, Z_SCORE
from ecgcmr.formats.short_axis_file import cmr_file_names, has_cine, has_segmentation
from ecgcmr.formats.signal_declaration import SignalDeclaration, load_declaration
from ecgcmr.preparation.candidates import Hashed, cohort_schema, hash_candidates, note_owners, remarks_on
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.cohort_layout import cohort_layout
from ecgcmr.preparation.collections.choice import collections_for
from ecgcmr.preparation.collections.gathering import gather
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.earlier_run import EarlierRun, check_key_by_subjects, key_for
from ecgcmr.preparation.folder_checks import check_folders
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.rows import Member
from ecgcmr.preparation.sampling import part_for_trial
from ecgcmr.preparation.splits import SPLIT_FRACTIONS, assign_splits, split_rule_by_hash
from ecgcmr.preparation.strata import strata_of
from ecgcmr.preparation.subject_key import key_fingerprint
from ecgcmr.preparation.withdrawal import Withdrawal
from ecgcmr.shards.layout import Label, Layout

NO_VOLTS = (
    "the recordings come in z-scores, not in millivolts: amplitudes are not checked, no lead is called clipped or "
    "noisy, and features of voltage are missing"
)


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
        options: What the user asked for.
        cine: How to make frames; None without images.
        declaration: Of files that do not tell leads, unit and rate; None if not given.
        notes: What the collections left out, counted and remarked on.
        files: Names of all files that will be read or were read.
        withdrawn: Hashes of all withdrawn subjects.
        key: Fingerprint of the secret key.
        file_owner: Keyed hash of a file's name -> its subject's hash, also of those who have withdrawn.
    """

    rows: dict[str, Row]
    layout: Layout
    options: PrepareOptions
    cine: CineOptions | None
    declaration: SignalDeclaration | None
    notes: SearchNotes
    files: list[str]
    withdrawn: list[str]
    key: str
    file_owner: dict[str, str]


def make_plan(options: PrepareOptions, earlier: EarlierRun) -> Plan:
    """Ask the collections for what there is and decide what becomes of every subject.

    Rows are ordered by keyed hash, so that their order tells nothing and every shard is a mixture.

    Args:
        options: What to prepare.
        earlier: What an earlier run left: who has withdrawn, the splits that stratified ones keep, its key.

    Raises:
        UserError: A path or a class is wrong, neither ECGs nor images were found, a table or the list of those who
            withdrew matches nobody, or the key is another one than the folder was made with.
    """
    check_folders(options)
    load_reader(options.reader)
    declaration = None if options.declaration is None else load_declaration(options.declaration)
    withdrawal = Withdrawal.read(options.withdrawn)
    notes = SearchNotes()
    gathered = [gather(collection, title, notes) for title, collection in collections_for(options)]
    schema = cohort_schema(gathered)
    everything = [candidate for found in gathered for candidate in found.candidates]
    cine = _cohort_cine(everything, options)
    has_masks = any(has_segmentation(one.cmr, options.view) for one in everything if one.cmr is not None)
    key = key_for(earlier, options.key_file)
    withdrawn = earlier.withdrawn | withdrawal.hashes(key)
    candidates = hash_candidates(gathered, schema, key)
    everybody = {one.subject for one in candidates}
    check_key_by_subjects(earlier, options.key_file, everybody)
    withdrawal.check(key, everybody | earlier.known, "the present or earlier files")
    candidates, part = part_for_trial(candidates, options, earlier)
    notes.remarks += [part] if part else []
    owners, moved, left_out = note_owners(candidates, withdrawn, earlier, key)
    if moved:
        notes.remarks.append(f"{moved} files are of another subject than in the earlier run; has --subjects changed?")
    candidates = _without(left_out, candidates, notes)
    split_of = _splits(candidates, options.stratify, schema, earlier.split_of)
    notes.remarks += remarks_on(candidates, split_of, earlier)
    unit = _unit_of(candidates)
    if unit == Z_SCORE:
        notes.remarks.append(NO_VOLTS)
    ordered = sorted(candidates, key=lambda one: (one.subject, one.row))
    rows = {one.row: _row(one, split_of[one.subject]) for one in ordered}
    used = [name for row in rows.values() for name in _files(row, options.view)]
    has_ecg = any(row.member.ecg is not None for row in rows.values())
    return Plan(
        rows=rows,
        layout=cohort_layout(
            options,
            cine,
            schema,
            _split_rule(candidates, options, notes),
            unit=unit,
            has_ecg=has_ecg,
            has_masks=has_masks,
        ),
        options=options,
        cine=cine,
        declaration=declaration,
        notes=notes,
        files=list(dict.fromkeys([*used, *notes.files, *(name for name, _ in notes.skipped)])),
        withdrawn=sorted(withdrawn),
        key=key_fingerprint(key),
        file_owner=owners,
    )


def _cohort_cine(candidates: Sequence[Candidate], options: PrepareOptions) -> CineOptions | None:
    """One set of frames for the whole cohort: two phases alone if nobody has a whole cine, None without images."""
    images = [candidate.cmr for candidate in candidates if candidate.cmr is not None]
    if not images:
        return None
    is_whole = any(has_cine(one, options.view) for one in images)
    return options.cine if is_whole else options.cine.for_two_phases()


def _without(left_out: set[str], candidates: Sequence[Hashed], notes: SearchNotes) -> list[Hashed]:
    """Leave out the rows of those who have withdrawn."""
    for one in candidates:
        if one.row in left_out:
            notes.skipped += [(name, "the subject has withdrawn") for _, name, _ in one.candidate.files]
    remaining = [one for one in candidates if one.row not in left_out]
    if not remaining:
        raise UserError("nothing to prepare: every subject has withdrawn")
    return remaining


def _splits(
    candidates: Sequence[Hashed], stratify: Sequence[str], schema: Sequence[Label], earlier: Mapping[str, str]
) -> dict[str, str]:
    """Give every subject one split: that of its collection, or the hash's, within strata if asked."""
    given = {one.subject: one.candidate.split for one in candidates if one.candidate.split is not None}
    others = {one.subject: one.labels for one in reversed(candidates) if one.subject not in given}
    strata = None
    if stratify and not others:
        raise UserError("--stratify: the data set itself gives every subject's split; leave it out")
    if stratify:
        table = np.stack(list(others.values()))
        try:
            strata = strata_of(list(others), table, schema, stratify)
        except UserError as error:
            raise UserError(f"--stratify: {error}") from error
    return given | assign_splits(list(others), SPLIT_FRACTIONS, strata=strata, earlier=earlier)


def _split_rule(candidates: Sequence[Hashed], options: PrepareOptions, notes: SearchNotes) -> dict[str, object]:
    """Say how subjects were divided, as the shards keep it."""
    rule = notes.split_rule or split_rule_by_hash()
    if not notes.split_rule and any(one.candidate.split is not None for one in candidates):
        rule = {"by": "collection"}
        if any(one.candidate.split is None for one in candidates):
            rule["others"] = split_rule_by_hash()
    return {**rule, "stratified_by": list(options.stratify)} if options.stratify else rule


def _unit_of(candidates: Sequence[Hashed]) -> str:
    """Return what all recordings come in: mV, or z-scores where a publisher left nothing else.

    Raises:
        UserError: Some come in mV and others in z-scores.
    """
    readers = [one.candidate.read_by for one in candidates if one.candidate.ecg is not None]
    units = {MILLIVOLTS if reader is None else reader.unit for reader in readers}
    if len(units) > 1:
        raise UserError("some recordings are in mV and others in z-scores; prepare them as cohorts of their own")
    return next(iter(units), MILLIVOLTS)


def _row(one: Hashed, split: str) -> Row:
    names = {part: name for part, name, _ in one.candidate.files}
    member = Member(
        one.row, one.subject, split, one.labels, one.candidate.ecg, one.candidate.cmr, one.candidate.read_by
    )
    return Row(member, names.get("ecg", ""), names.get("cmr", ""))


def _files(row: Row, view: str) -> list[str]:
    names = [row.ecg_name] if row.ecg_name else []
    if row.member.cmr is not None:
        within = cmr_file_names(row.member.cmr, view)
        names += [f"{row.cmr_name}/{name}" for name in within] or [row.cmr_name]
    return names
