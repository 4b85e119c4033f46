"""The run over a cohort: shards in parallel, one after the other resumable, then the index and the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from data_modules.index import write_index
from ecgcmr.errors import UserError
from ecgcmr.preparation.plan import Plan, Row, make_plan
from ecgcmr.preparation.report import REPORT_NAME, Report, build_report
from ecgcmr.preparation.shard_task import ShardOutcome, ShardTask, finished_shard, prepare_shard

SHARD_FOLDER = "shards"


def prepare(
    out: Path,
    *,
    ecg: Path | None = None,
    cmr: Path | None = None,
    tables: Sequence[Path] = (),
    workers: int | None = None,
    size: int = 96,
    shard_size: int = 512,
    min_slices: int = 1,
    key_file: Path | None = None,
) -> Report:
    """Prepare a cohort: ``out/shards/*.h5``, ``out/index.json`` and ``out/report.json``.

    A run that was interrupted goes on where it stopped; a run on unchanged files does nothing again. The same files,
    parameters and key give the same bytes.

    Args:
        out: Folder to write to.
        ecg: Folder of ECG files, or a PTB-XL download.
        cmr: Folder of subjects' folders of NIfTI images.
        tables: Tables of phenotypes, covariates and diagnoses.
        workers: Processes; None for one per processor.
        size: Height and width of frames in pixels.
        shard_size: Rows per shard.
        min_slices: Refuse image stacks of fewer slices.
        key_file: Secret for the subjects' hashes; None for the default one, made on first use.

    Returns:
        What became of every file.

    Raises:
        UserError: A path or parameter is wrong, or no subject at all could be prepared.
    """
    if shard_size < 1:
        raise UserError(f"--shard-size {shard_size}: must be at least 1")
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: must be at least 1")
    plan = make_plan(ecg, cmr, tables, key_file, size, min_slices)
    try:
        (out / SHARD_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from error
    chunks = [plan.rows[start : start + shard_size] for start in range(0, len(plan.rows), shard_size)]
    outcomes = _run(_tasks(out, plan, chunks), workers or joblib.cpu_count())
    report = build_report(plan, chunks, outcomes)
    entries = [outcome.entry for outcome in outcomes if outcome.entry is not None]
    if not entries:
        report.write(out)
        first = report.skipped[0]
        raise UserError(
            f"none of {len(plan.rows)} subjects could be prepared (see {out / REPORT_NAME}); "
            f"{first['file']}: {first['reason']}"
        )
    report.counts = dict(write_index(out, plan.layout, entries).counts)
    report.write(out)
    _remove_stale(out / SHARD_FOLDER, len(chunks))
    return report


def _tasks(out: Path, plan: Plan, chunks: Sequence[Sequence[Row]]) -> list[ShardTask]:
    return [
        ShardTask(
            path=out / SHARD_FOLDER / f"shard-{number:05d}.h5",
            layout=plan.layout,
            cine=plan.cine,
            members=tuple(row.member for row in rows),
        )
        for number, rows in enumerate(chunks)
    ]


def _prepare_numbered(number: int, task: ShardTask) -> tuple[int, ShardOutcome]:
    return number, prepare_shard(task)


def _run(tasks: Sequence[ShardTask], workers: int) -> list[ShardOutcome]:
    """Prepare the shards that are not there yet, several at a time, and return all outcomes in order."""
    finished = [finished_shard(task) for task in tasks]
    outcomes = {number: outcome for number, outcome in enumerate(finished) if outcome is not None}
    if outcomes:
        print(f"{len(outcomes)} of {len(tasks)} shards are there already and unchanged", file=sys.stderr)
    open_tasks = [(number, task) for number, task in enumerate(tasks) if number not in outcomes]
    if open_tasks:
        outcomes.update(_run_in_parallel(open_tasks, min(workers, len(open_tasks))))
    return [outcomes[number] for number in range(len(tasks))]


def _run_in_parallel(tasks: Sequence[tuple[int, ShardTask]], workers: int) -> dict[int, ShardOutcome]:
    parallel = joblib.Parallel(n_jobs=workers, backend="loky", batch_size=1, return_as="generator_unordered")
    columns = (
        TextColumn("preparing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    sizes = {number: len(task.members) for number, task in tasks}
    outcomes: dict[int, ShardOutcome] = {}
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        bar = progress.add_task("preparing", total=sum(sizes.values()), rate="")
        try:
            for number, outcome in parallel(joblib.delayed(_prepare_numbered)(*task) for task in tasks):
                outcomes[number] = outcome
                progress.advance(bar, sizes[number])
                state = progress.tasks[0]
                progress.update(bar, rate=f"{state.completed / state.elapsed:.0f}/s" if state.elapsed else "")
        except TerminatedWorkerError as error:
            raise UserError(
                "a worker process was killed, most likely for want of memory; run again with fewer --workers or a "
                "smaller --shard-size (finished shards are kept if the shard size stays)"
            ) from error
    return outcomes


def _remove_stale(folder: Path, shards: int) -> None:
    """Remove shards of an earlier run that had more of them, and what a killed run left half-written."""
    for path in folder.glob(".shard-*.tmp"):
        path.unlink()
    for path in sorted(folder.glob("shard-*.*")):
        number = path.stem.removeprefix("shard-")
        if path.suffix in (".h5", ".json") and number.isdecimal() and int(number) >= shards:
            path.unlink()
