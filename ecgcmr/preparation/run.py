"""The run over a cohort: plan, shards in parallel, then the index, its selections and the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import joblib

from ecgcmr.errors import UserError
from ecgcmr.files import remove_unfinished
from ecgcmr.locks import locked
from ecgcmr.parallel import run_all
from ecgcmr.preparation.device_rates import rate_doubts
from ecgcmr.preparation.earlier_run import KEY_FINGERPRINT, SHARD_FOLDER, EarlierRun, key_for, read_earlier
from ecgcmr.preparation.leaks import find_leaks
from ecgcmr.preparation.leave_out_first import leave_out_first
from ecgcmr.preparation.lost_content import index_before, lost_content
from ecgcmr.preparation.membership import MEMBERSHIP_NAME, Membership, extend_membership, read_membership
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.out_folder import refuse_foreign
from ecgcmr.preparation.plan import Plan, Row, make_plan
from ecgcmr.preparation.report import REPORT_NAME, Report, build_report
from ecgcmr.preparation.selections import build_selections
from ecgcmr.preparation.shard_task import ShardOutcome, ShardTask, finished_shard, prepare_shard
from ecgcmr.preparation.subject_key import key_fingerprint
from ecgcmr.preparation.withdrawal import Withdrawal
from ecgcmr.shards.index import INDEX_NAME, ShardIndex, read_labels
from ecgcmr.shards.index_writer import Selections, withdraw, write_index


@locked("prepare", lambda options: options.out)
def prepare(options: PrepareOptions) -> Report:
    """Prepare a cohort: ``out/shards/*.h5``, ``out/index.json`` and ``out/report.json``.

    A run that was interrupted goes on where it stopped; a run on unchanged files does nothing again; files that were
    added go into new shards. The same files, parameters and key give the same bytes.

    Returns:
        What became of every file.

    Raises:
        UserError: A path or parameter is wrong, or no subject at all could be prepared.
    """
    folder = options.out / SHARD_FOLDER
    refuse_foreign(options.out, SHARD_FOLDER)
    earlier = read_earlier(options.out, options.shard_size, lists_withdrawn=options.withdrawn is not None)
    before = index_before(options.out)
    plan = make_plan(options, earlier)
    membership = _membership(plan, earlier)
    chunks = [[plan.rows[row] for row in shard] for shard in membership.shards]
    try:
        is_left_out = leave_out_first(options.out, plan.withdrawn, select_training)
        membership.write(folder)
        if not is_left_out:  # only now, since the membership lists them, too
            (options.out / INDEX_NAME).unlink()
    except OSError as error:
        raise UserError(f"--out {options.out}: cannot be written ({error.strerror})") from error
    outcomes = _run(_tasks(options.out, plan, chunks), options)
    report = build_report(plan, chunks, outcomes)
    entries = [outcome.entry for outcome in outcomes if outcome.entry is not None]
    if not entries:
        report.write(options.out)
        first = report.skipped[0]
        raise UserError(
            f"none of {len(plan.rows)} rows could be prepared (see {options.out / REPORT_NAME}); "
            f"{first['file']}: {first['reason']}"
        )
    duplicates = _find_duplicates(outcomes, chunks, report)
    index = write_index(
        options.out,
        plan.layout,
        entries,
        extra={KEY_FINGERPRINT: plan.key},
        withdrawn=plan.withdrawn,
        duplicates=duplicates,
        select=select_training,
    )
    report.counts = dict(index.counts)
    report.remarks += [*lost_content(before, index), *rate_doubts(index)]
    report.write(options.out)
    _remove_stale(folder, len(chunks))
    return report


def _membership(plan: Plan, earlier: EarlierRun) -> Membership:
    """What to remember of this run; who is not there at present keeps the split for when he comes back."""
    withdrawn = set(plan.withdrawn)
    split_of = {subject: split for subject, split in earlier.split_of.items() if subject not in withdrawn}
    split_of |= {row.member.subject: row.member.split for row in plan.rows.values()}
    membership = extend_membership(earlier.membership, list(plan.rows), split_of)
    return replace(membership, key=plan.key, withdrawn=tuple(plan.withdrawn), file_owner=plan.file_owner)


@dataclass(frozen=True)
class WithdrawnNow:
    """What taking subjects out of a prepared cohort came to.

    Attributes:
        index: The cohort as it is now.
        listed: Ids in the list.
        matched: Of these, how many are or were in the cohort.
    """

    index: ShardIndex
    listed: int
    matched: int


@locked("prepare", lambda options: options.out, create=False)
def withdraw_subjects(options: PrepareOptions) -> WithdrawnNow:
    """Take withdrawn subjects out of the index of a cohort that is prepared already; no raw file is needed.

    The next full run on the raw files also removes their recordings from the shards.

    Raises:
        UserError: The file of subjects, the key or the index cannot be read, the key is another one than the cohort
            was prepared with, or the list matches nobody.
    """
    if not options.out.is_dir():
        raise UserError(f"--out {options.out}: no such folder; name the prepared cohort")
    withdrawal = Withdrawal.read(options.withdrawn)
    ShardIndex.load(options.out)
    remove_unfinished(options.out / SHARD_FOLDER)
    earlier = read_earlier(options.out, options.shard_size)
    key = key_for(earlier, options.key_file)
    matched = withdrawal.check(key, earlier.known, f"{options.out}")
    withdrawn = earlier.withdrawn | withdrawal.hashes(key)
    if (options.out / SHARD_FOLDER / MEMBERSHIP_NAME).is_file():
        # First here: whatever becomes of the index, nobody comes back.
        remembered = read_membership(options.out / SHARD_FOLDER)
        replace(remembered, key=key_fingerprint(key), withdrawn=tuple(withdrawn)).write(options.out / SHARD_FOLDER)
    extra = {KEY_FINGERPRINT: key_fingerprint(key)}
    return WithdrawnNow(withdraw(options.out, withdrawn, select_training, extra), len(withdrawal.ids), matched)


def select_training(index: ShardIndex) -> Selections:
    """Make the named selections of the training split, see ``build_selections``."""
    rows = index.positions(None, need=())
    labels = read_labels(index, index.label_names, rows)
    chosen = build_selections(index.subjects(rows), index.splits(rows), labels, index.layout.labels)
    return {name: {**entry, "rows": rows[entry["rows"]].tolist()} for name, entry in chosen.items()}


def _tasks(out: Path, plan: Plan, chunks: Sequence[Sequence[Row]]) -> list[ShardTask]:
    return [
        ShardTask(
            path=out / SHARD_FOLDER / f"shard-{number:05d}.h5",
            layout=plan.layout,
            standard=plan.options.standard,
            cine=plan.cine,
            view=plan.options.view,
            declaration=plan.declaration,
            reader=plan.options.reader,
            members=tuple(row.member for row in rows),
        )
        for number, rows in enumerate(chunks)
    ]


def _run(tasks: Sequence[ShardTask], options: PrepareOptions) -> list[ShardOutcome]:
    """Prepare the shards that are not there yet, several at a time, and return all outcomes in order."""
    finished = [finished_shard(task) for task in tasks]
    outcomes = {number: outcome for number, outcome in enumerate(finished) if outcome is not None}
    if outcomes:
        print(f"{len(outcomes)} of {len(tasks)} shards are there already and unchanged", file=sys.stderr)
    numbers = [number for number in range(len(tasks)) if number not in outcomes]
    if numbers:
        todo = [tasks[number] for number in numbers]
        workers = options.workers or joblib.cpu_count()
        if options.backend == "local":
            workers = min(workers, len(todo))
        results = run_all(
            prepare_shard,
            todo,
            [len(task.members) for task in todo],
            workers=workers,
            backend=options.backend,
            scheduler=options.scheduler,
        )
        outcomes.update(zip(numbers, results, strict=True))
    return [outcomes[number] for number in range(len(tasks))]


def _find_duplicates(outcomes: Sequence[ShardOutcome], chunks: Sequence[Sequence[Row]], report: Report) -> list[int]:
    """Find recordings that stand in two splits under two subjects; those in the lesser split are left out.

    Returns:
        Positions of the rows left out; the report lists their files.
    """
    subjects: list[str] = []
    splits: list[str] = []
    digests: list[tuple[str, str]] = []
    rows: list[Row] = []
    for outcome, chunk in zip(outcomes, chunks, strict=True):
        if outcome.entry is not None:
            subjects += outcome.entry.subject
            splits += outcome.entry.split
            digests += outcome.digests
            rows += [chunk[number] for number in outcome.members]
    positions = find_leaks(subjects, splits, digests)
    for position in positions:
        name = rows[position].ecg_name or rows[position].cmr_name
        report.duplicates.append({"file": name, "reason": "the same recording stands in another split as well"})
    return positions


def _remove_stale(folder: Path, shards: int) -> None:
    """Remove shards of an earlier run that had more of them, and what a killed run left half-written."""
    for path in folder.glob(".*.tmp"):
        path.unlink()
    for path in sorted(folder.glob("shard-*.*")):
        number = path.stem.removeprefix("shard-")
        if path.suffix in (".h5", ".json") and number.isdecimal() and int(number) >= shards:
            path.unlink()
