"""``ecgcmr sweep FILE``: fits one config with other settings again and again, and keeps what validation finds best."""

from __future__ import annotations

import argparse
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.experiments.command import shown
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.locks import FolderLock
from ecgcmr.option_checks import folder_to_write
from ecgcmr.shipped_configs import find_config, name_of_shipped
from ecgcmr.text import printable

HELP = """\
Try settings of one config: each trial is a fit in OUT/trials/NUMBER, what it sets is proposed by Optuna, and it is
judged by the stage's monitored number on the validation split; the test split is never read. A trial that does worse
than those before is given up early.

  ecgcmr sweep configs/sweeps/mae.yaml --root data/demo
  ecgcmr sweep configs/sweeps/mae.yaml --root data/demo trainer.max_epochs=5 --trials 40
  ecgcmr fit -c configs/mae/demo.yaml -c runs/sweeps/mae/best.yaml --data.root data/demo      with what was found

A file names a config and what its settings are drawn from:

  config: ../mae/demo.yaml
  trials: 20
  space:
    model.optimiser.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
    model.mask_ratio: {choices: [0.5, 0.6, 0.75]}

The folder holds sweep.json (all trials), best.yaml (to lay over the config), study.db (Optuna's, SQLite) and trials,
of which the best keeps its weights. The same command goes on after an interruption, as if there had been none, and with
more --trials a finished sweep goes on. Needs optuna: pip install 'ecgcmr[sweep]'."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sweep``."""
    parser.add_argument("file", metavar="FILE", help="sweep file (YAML), or the name of one that is shipped")
    parser.add_argument(
        "overrides", nargs="*", metavar="NAME=VALUE", help="a setting of all trials, such as trainer.max_epochs=5"
    )
    parser.add_argument(
        "--out", type=folder_to_write, metavar="DIR", help="folder (default: runs/sweeps/<name of FILE>)"
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="cohort, in place of data.root")
    parser.add_argument("--trials", type=int, metavar="N", help="how many, in place of those of FILE")
    parser.add_argument("--overwrite", action="store_true", help="remove another sweep that lies in the folder")


def run(args: argparse.Namespace) -> int:
    """Run the sweep.

    Returns:
        0 when all trials have been run.

    Raises:
        UserError: The file is a mistake, optuna is missing, the folder holds another sweep, or no trial gave a number.
    """
    import_heavy("ecgcmr.sweeps.run")
    from ecgcmr.sweeps.plan import read_plan
    from ecgcmr.sweeps.run import Sweep, line_about, monitored
    from ecgcmr.sweeps.study import optuna_package

    optuna_package()
    given = [] if args.root is None else [f"data.root={args.root}"]
    file = find_config(args.file, what="sweep", room="sweeps")
    plan = read_plan(file, [*args.overrides, *given], args.trials)
    out = (args.out or Path("runs") / "sweeps" / file.stem).resolve()
    sweep = Sweep(plan, out, lambda line: print(printable(line), flush=True))
    with FolderLock(out, "sweep"):
        sweep.claim(overwrite=args.overwrite)
        best = sweep.run()
    if best is None:
        raise UserError(f"{out}: none of its trials gave a number; sweep.json says why, trial by trial")
    print(f"best: {line_about(best, monitored(out)[0])}")
    config = name_of_shipped(plan.config_file) or shown(plan.config_file)
    print(f"{shown(out / 'best.yaml')} lays it over {config}; all trials: {shown(out / 'sweep.json')}")
    return 0
