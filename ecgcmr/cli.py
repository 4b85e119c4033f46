"""The command line: ``ecgcmr COMMAND ...``.

``fit``, ``validate``, ``test`` and ``predict`` are the Lightning CLI (``ecgcmr.training.command``); every other command
is a module with ``HELP``, ``add_arguments(parser)`` and ``run(args) -> int``. Modules are imported only when their
command is called, so that ``ecgcmr --help`` answers at once.

Exit codes: 0 done, 2 a mistake the user can mend (one line on standard error), 3 ``--strict`` and something skipped,
some of many files not read, a run that did not come out the same, or a fault that ``doctor`` found, 130 interrupted,
143 terminated (SIGTERM).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ecgcmr import __version__
from ecgcmr.arguments import run_command
from ecgcmr.current_folder import find_own_modules
from ecgcmr.disk_errors import disk_error_line
from ecgcmr.errors import UserError
from ecgcmr.heavy_imports import import_heavy
from ecgcmr.termination import GOES_ON, Terminated, until_asked_to_end
from ecgcmr.text import printable, show_any_name

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("ecgcmr.experiments.demo_command", "the whole way on a synthetic cohort, in one folder"),
    "synthesize": ("ecgcmr.synthesis.command", "make a cohort with known truth: ECGs, short-axis cines, tables"),
    "prepare": ("ecgcmr.preparation.command", "turn raw ECG, CMR and table files into HDF5 shards"),
    "inspect": ("ecgcmr.inspection.command", "show what is in a prepared folder, a shard or a raw file"),
    "verify": ("ecgcmr.verification.command", "check a prepared cohort: checksums, records, index"),
    "import-weights": ("ecgcmr.weights_import.command", "turn published weights into encoder files"),
    "fit": ("ecgcmr.training.command", "train one stage from a config file"),
    "validate": ("ecgcmr.training.command", "evaluate a checkpoint on the validation split"),
    "test": ("ecgcmr.training.command", "evaluate a checkpoint on the test split"),
    "predict": ("ecgcmr.training.command", "write a checkpoint's predictions"),
    "experiment": ("ecgcmr.experiments.command", "run stages composed in one file, to a table of results"),
    "status": ("ecgcmr.experiments.status_command", "how far an experiment is"),
    "submit": ("ecgcmr.experiments.submit_command", "run an experiment as jobs of a SLURM cluster"),
    "sweep": ("ecgcmr.sweeps.command", "try settings of one config, judged on validation (Optuna)"),
    "evaluate": ("ecgcmr.reports.evaluate_command", "recompute every metric from a table of predictions"),
    "compare": ("ecgcmr.reports.compare_command", "one table over several runs, with paired differences"),
    "export": ("ecgcmr.experiments.export_command", "write a trained model with its preparation as a model folder"),
    "embed": ("ecgcmr.inference.embed_command", "embeddings of ECG files or of a prepared cohort, as Parquet"),
    "infer": ("ecgcmr.inference.infer_command", "predictions from ECG files: JSON and a page for each"),
    "push": ("ecgcmr.inference.push_command", "upload a model folder to the Hugging Face hub"),
    "serve": ("ecgcmr.inference.serve.command", "answer for ECG files over HTTP, with a page where one is dropped"),
    "explain": ("ecgcmr.interpretation.command", "what a trained model looks at, retrieves and keeps apart"),
    "report": ("ecgcmr.pages.command", "an experiment or a run as one HTML page"),
    "runs": ("ecgcmr.provenance.runs_command", "list runs as a table, by any metric or setting"),
    "doctor": ("ecgcmr.installation.doctor_command", "versions, devices, what is missing for which command"),
    "configs": ("ecgcmr.installation.configs_command", "list, show or copy the configs that come with ecgcmr"),
    "reproduce": ("ecgcmr.provenance.reproduce_command", "run a run again and say whether it came out the same"),
    "bench": ("ecgcmr.benchmarks.command", "measure the speed of cleaning, loading and training on this machine"),
}
"""Command name -> (module, one line of help)."""

INTERRUPTED = 130
_LONGEST_ERROR = 900  # characters: what a message lists is cut, its beginning and the remedy at its end stay
_LIGHTNING = ("fit", "validate", "test", "predict")

_EXAMPLES = """\
a first session:
  ecgcmr demo
  ecgcmr synthesize --subjects 500 --seed 0 --out data/demo --format shards
  ecgcmr fit -c mae/demo --data.root data/demo --trainer.max_epochs 2
  ecgcmr experiment demo --out runs/demo

'ecgcmr COMMAND --help' explains each command.
"""


def _overview() -> str:
    """Return the text of ``ecgcmr --help``."""
    lines = ["usage: ecgcmr COMMAND ...", "", "Cardiac MRI phenotypes from a 12-lead ECG.", "", "commands:"]
    lines += [f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join([*lines, "", _EXAMPLES])


def _run_command(name: str, arguments: Sequence[str]) -> int:
    module = import_heavy(COMMANDS[name][0])
    find_own_modules()
    if name in _LIGHTNING:
        return int(module.run(name, list(arguments)))
    return run_command(name, module, arguments)


def _dispatch(arguments: list[str]) -> int:
    """Run what the arguments name: the overview, the version or a command."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(f"ecgcmr {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise UserError(f"there is no command '{name}'; choose one of: {', '.join(COMMANDS)}")
    return _run_command(name, rest)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: The arguments after the program's name; ``sys.argv[1:]`` when ``None``.

    Returns:
        The exit code (see the module's first lines).
    """
    try:
        show_any_name(sys.stdout)
        with until_asked_to_end():
            code = _dispatch(list(sys.argv[1:] if args is None else args))
            sys.stdout.flush()  # so that a reader who has gone is noticed here
            return code
    except UserError as error:
        print(f"error: {printable(error, _LONGEST_ERROR)}", file=sys.stderr)
        return 2
    except Terminated as stop:
        if stop.advice:  # else another rank says it
            print(f"terminated; {stop.advice}", file=sys.stderr)
        return int(stop.code or 0)
    except SystemExit as stop:  # --help of a command
        return int(stop.code or 0)
    except KeyboardInterrupt as stop:
        print(f"interrupted; {stop.args[0] if stop.args else GOES_ON}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (such as `head`) has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        line = disk_error_line(error)
        if line is None:
            raise
        # A full disk, a folder that may not be written to, a file where a folder is wanted.
        print(f"error: {printable(line, _LONGEST_ERROR)}", file=sys.stderr)
        return 2


def console() -> None:
    """Entry point of the console script: exit with the code of ``main``."""
    sys.exit(main())
