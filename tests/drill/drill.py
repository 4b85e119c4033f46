"""The fault drill: every command that writes is killed, starved of disk and run twice at once; what is left is read.

    make drill
    python tests/drill/drill.py --only fit --fault sigterm
    python tests/drill/drill.py --only fit --fault sigkill --point 3        one case again; its files stay

Prints a table and writes it as Markdown rows and JSON. Exit code 0 if no case failed. Full disks and other file systems
are mounted in memory, which needs root; where that is not allowed these cases are skipped and counted as such.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
for room in (ROOT, ROOT / "tests" / "formats", ROOT / "tests" / "robustness", ROOT / "tests" / "drill"):
    sys.path.insert(0, str(room))

from drill_cases import Case, Reference, Result  # noqa: E402
from drill_faults import DISKS, ELSEWHERE, FAULTS, SIGNALS, can_mount  # noqa: E402
from drill_material import make_drill_material  # noqa: E402
from drilled_commands import DRILLED, Drilled  # noqa: E402
from warm_process import fork, import_all, warm_up  # noqa: E402

POINTS = {"full disk": 3, "temporaries elsewhere": 3}


def points(drilled: Drilled, fault: str) -> int:
    """How many cases of a fault a command has."""
    if fault in SIGNALS:
        return drilled.points
    return min(drilled.points, POINTS.get(fault, 1))


def in_fork(work: Callable[[], object], answer: Path) -> int:
    """Run ``work`` in a fork that writes what it returns to ``answer`` as JSON; returns the process id."""

    def run() -> None:
        text = json.dumps(asdict(work()))  # type: ignore[call-overload]
        answer.write_text(text)

    answer.unlink(missing_ok=True)
    return fork(run)


def refer_all(chosen: list[Drilled], material: Path, base: Path, seed: int) -> dict[str, Reference]:
    """Run every command once, undisturbed; those that cannot be run so are left out."""
    found = {}
    for drilled in chosen:
        answer = base / "reference.json"
        _, status = os.waitpid(in_fork(Case(drilled, material, base / "whole", seed, None).refer, answer), 0)
        if status:
            continue
        found[drilled.name] = Reference(**json.loads(answer.read_text()))
        print(
            f"{drilled.name}: {found[drilled.name].seconds:.1f} s, {found[drilled.name].kilobytes} KB undisturbed",
            flush=True,
        )
    return found


def strike_all(
    todo: list[tuple[Drilled, str, int]],
    references: dict[str, Reference],
    material: Path,
    base: Path,
    seed: int,
    workers: int,
    log: Path,
) -> list[Result]:
    """Run all cases, ``workers`` at a time; each answer is added to ``log``, a JSON line each."""
    waiting, running, results = list(todo), dict[int, tuple[Drilled, str, int, Path]](), list[Result]()
    while waiting or running:
        while waiting and len(running) < workers:
            drilled, fault, point = waiting.pop(0)
            name = f"{drilled.name} {fault} {point}".translate(str.maketrans(" (),", "____"))
            case = Case(drilled, material, base / name, seed, references[drilled.name])
            answer = base / f"{name}.answer.json"
            process = in_fork(lambda case=case, fault=fault, point=point: case.strike(fault, point), answer)  # type: ignore[misc]
            running[process] = (drilled, fault, point, answer)
        process, _ = os.wait()
        drilled, fault, point, answer = running.pop(process)
        if answer.is_file():
            result = Result(**json.loads(answer.read_text()))
            answer.unlink()
        else:
            result = Result(drilled.name, fault, point, "the drill itself failed, see above")
        if result.problem:
            print(
                f"FAILED {drilled.name}, {fault}, point {point}: {result.problem}; exit {result.code}; {result.line}",
                flush=True,
            )
        results.append(result)
        with log.open("a") as stream:  # a drill that is cut off has its answers so far
            stream.write(json.dumps(asdict(result)) + "\n")
    return results


def table(results: list[Result]) -> list[str]:
    """Markdown rows: a command a row, a fault a column."""
    cells: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        cells[result.command, result.fault].append(result)
    faults = [fault for fault in FAULTS if any(key[1] == fault for key in cells)]
    rows = [f"| command | {' | '.join(faults)} |", f"|---{'|---' * len(faults)}|"]
    for name in dict.fromkeys(result.command for result in results):
        rows.append(f"| {name} | {' | '.join(_cell(cells.get((name, fault), [])) for fault in faults)} |")
    return rows


def _cell(results: list[Result]) -> str:
    if not results:
        return ""
    if results[0].skipped:
        return "skipped"
    right = sum(not result.problem for result in results)
    states = [state for state in ("old", "new", "unfinished") if any(result.state == state for result in results)]
    return f"{right}/{len(results)}" + (f" ({', '.join(states)})" if states else "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="COMMAND", help="commands whose names begin so")
    parser.add_argument(
        "--fault", nargs="+", default=[], choices=FAULTS, metavar="FAULT", help=f"some of: {', '.join(FAULTS)}"
    )
    parser.add_argument("--point", type=int, help="one point alone; its files stay")
    parser.add_argument("--points", type=int, help="most points a fault and command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="cases at a time (default: 2)")
    parser.add_argument("--work", type=Path, help="folder to work in (default: a temporary one)")
    parser.add_argument("--out", type=Path, default=Path("runs/drill"), help="folder of drill.json and drill.md")
    return parser.parse_args()


def main() -> int:
    """Run the drill; returns 0 if no case failed."""
    args = _arguments()
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="drill-")) if args.work is None else args.work.resolve()
    chosen = [drilled for drilled in DRILLED if not args.only or drilled.name.startswith(tuple(args.only))]
    out = args.out.resolve()
    import_all()
    material = work / "material"
    if not material.is_dir():
        make_drill_material(work)
    warm_up(material, work / "warm")
    base = work / "cases"
    base.mkdir(exist_ok=True)
    hindrance = can_mount(work / "mount")
    references = refer_all(chosen, material, base, args.seed)
    todo, skipped, hopeless = list[tuple[Drilled, str, int]](), list[Result](), list[Result]()
    for drilled in chosen:
        if drilled.name not in references:
            hopeless.append(Result(drilled.name, FAULTS[0], 0, "cannot be run undisturbed, see above"))
            continue
        for fault in args.fault or FAULTS:
            for point in range(min(points(drilled, fault), args.points or 99)):
                if args.point is not None and point != args.point:
                    continue
                if hindrance and fault in (*DISKS, *ELSEWHERE):
                    skipped.append(Result(drilled.name, fault, point, skipped=hindrance))
                else:
                    todo.append((drilled, fault, point))
    out.mkdir(parents=True, exist_ok=True)
    (out / "drill.jsonl").unlink(missing_ok=True)
    results = strike_all(todo, references, material, base, args.seed, args.workers, out / "drill.jsonl")
    results = sorted(
        results + skipped + hopeless,
        key=lambda one: ([d.name for d in DRILLED].index(one.command), FAULTS.index(one.fault), one.point),
    )
    rows = table(results)
    failed = [result for result in results if result.problem]
    missed = sum(not result.struck for result in results)
    summary = (
        f"{len(results) - len(skipped)} cases, {len(failed)} failed, {missed} in which the command ended before "
        f"the fault came or needed no refusal, {len(skipped)} skipped{f' ({hindrance})' if hindrance else ''}; "
        f"seed {args.seed}, {time.monotonic() - began:.0f} s"
    )
    print("\n".join(["", *rows, "", summary]))
    (out / "drill.md").write_text("\n".join([*rows, "", summary, ""]))
    (out / "drill.json").write_text(
        json.dumps({"summary": summary, "cases": [asdict(result) for result in results]}, indent=1) + "\n"
    )
    if args.work is None and not failed and args.point is None:
        shutil.rmtree(work)
    elif failed:
        print(f"files: {base}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
