"""Thousands of damaged files through the program's own commands: none may crash it, hang it or fill the memory.

    python tests/robustness/fuzz.py --count 3000 --seed 0
    python tests/robustness/fuzz.py --kind last.ckpt --number 17       one mutant again; its files stay

This process imports everything, forks a process for the good files and then one for every few mutants; it trains
nothing itself. A process that ends, hangs or grows too much is a failure of the mutant it was at; the others go on in
a new one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ECGCMR_MACHINE_CHOICES", "ordinary")  # a fit of one step is not to measure the machine first
ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "tests" / "formats", ROOT / "tests" / "robustness"):
    sys.path.insert(0, str(folder))

from fuzz_batch import run_all  # noqa: E402
from fuzz_kinds import KINDS, share  # noqa: E402
from fuzz_material import make_material  # noqa: E402
from fuzz_verdict import Outcome  # noqa: E402
from warm_process import fork, import_all, warm_up  # noqa: E402


def make_good_files(folder: Path) -> None:
    """Make the good files in a fork; what is printed on the way goes to a log."""
    folder.mkdir(parents=True)
    with (folder.parent / "material.log").open("wb") as log:
        _, status = os.waitpid(fork(lambda: make_material(folder), log.fileno()), 0)
    if status:
        sys.exit((folder.parent / "material.log").read_text(errors="replace")[-3000:])


def replay_line(outcome: Outcome, seed: int) -> str:
    """The command that runs one mutant again."""
    return f"python tests/robustness/fuzz.py --seed {seed} --kind {outcome.kind} --number {outcome.number}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000, help="mutants over all kinds (default: 3000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--kind", nargs="+", default=[], choices=sorted(KINDS), metavar="KIND", help="these kinds alone"
    )
    parser.add_argument("--number", type=int, help="one mutant of one kind; its files stay")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time (default: 1)")
    parser.add_argument("--good", action="store_true", help="run the good files too: each must be taken")
    parser.add_argument(
        "--work", type=Path, help="folder to work in (default: a temporary one, removed unless mutants failed)"
    )
    parser.add_argument("--out", type=Path, help="write all outcomes to this file as JSON")
    parser.add_argument("--list", action="store_true", help="list the kinds")
    return parser.parse_args()


def main() -> int:
    """Run the harness; returns 0 if no mutant failed."""
    args = _arguments()
    if args.list:
        print("\n".join(f"{kind.name:24}{kind.target:36}{' | '.join(kind.commands)}" for kind in KINDS.values()))
        return 0
    work = Path(tempfile.mkdtemp(prefix="fuzz-")) if args.work is None else args.work.resolve()
    os.environ["TMPDIR"] = str(work)
    began = time.monotonic()
    import_all()
    if not (work / "material").is_dir():
        shutil.rmtree(work / "material.unfinished", ignore_errors=True)
        make_good_files(work / "material.unfinished")
        (work / "material.unfinished").rename(work / "material")
    warm_up(work / "material", work / "warm")
    made = time.monotonic() - began
    todo: list[tuple[str, int | None]] = list(share(args.count, args.kind))
    if args.number is not None:
        todo = [(args.kind[0], args.number if args.number >= 0 else None)]
    if args.good:
        good: list[tuple[str, int | None]] = [(name, None) for name in args.kind or KINDS]
        todo = good + todo
    failed: list[Outcome] = []

    def show(outcome: Outcome) -> None:
        if outcome.number < 0 and not outcome.problem and outcome.code != 0:
            outcome.problem = f"the good file is not taken (exit code {outcome.code})"
        if outcome.problem or args.number is not None:
            print(
                f"{outcome.kind} {outcome.number}: {outcome.problem or 'fine'}; exit {outcome.code}; "
                f"{outcome.where}; {outcome.message}",
                flush=True,
            )
        if outcome.problem:
            failed.append(outcome)

    outcomes = run_all(todo, work / "mutants", args.seed, args.workers, show)
    codes = Counter(outcome.code for outcome in outcomes)
    total = time.monotonic() - began
    print(
        f"{len(outcomes)} mutants of {len({o.kind for o in outcomes})} kinds, seed {args.seed}: {codes[0]} taken, "
        f"{codes[2]} refused, "
        f"{len(failed)} failed; {total:.0f} s, {made:.0f} s of them to begin"
    )
    for outcome in failed:
        print(replay_line(outcome, args.seed))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(
            json.dumps({"seed": args.seed, "seconds": total, "outcomes": [asdict(o) for o in outcomes]}, indent=1)
        )
    if args.work is None:
        if failed or args.number is not None:
            print(f"files: {work / 'mutants'}")
        else:
            shutil.rmtree(work)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
