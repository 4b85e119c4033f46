"""``ecgcmr export RUN --out DIR``: what was trained, and how its recordings were prepared, as one model folder."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.option_checks import folder_to_write
from ecgcmr.text import printable

HELP = """\
Write a model folder (model.yaml, model.safetensors, README.md) that carries a trained model together with every step of
the preparation of its recordings, so that ecgcmr.load, embed, infer and serve need nothing else.

  ecgcmr export runs/mae --out models/mae                       a pre-trained encoder: embeddings
  ecgcmr export runs/downstream --out models/phenotypes         encoder and head: predictions
  ecgcmr export runs/demo --out models/demo                     the best encoder of an experiment with its linear probes
  ecgcmr export runs/demo --method mae --labels 500 --out ...   another one of its methods

The cohort's validation rows give prediction intervals, calibrated probabilities and the distance to the training data.
"""


MODEL_FILES = ("model.safetensors", "model.onnx", "README.md", "model.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of a stage, or folder of an experiment")
    parser.add_argument("--out", type=folder_to_write, required=True, metavar="DIR", help="model folder to write")
    parser.add_argument("--method", help="method of an experiment (default: the best on its validation split)")
    parser.add_argument("--labels", type=int, help="labelled training recordings of its heads (default: the most)")
    parser.add_argument(
        "--protocol",
        choices=("linear_probe", "finetune", "taught"),
        help="heads of the method (default: its linear probes)",
    )
    parser.add_argument("--task", help="task of a fine-tuned method, or of a cohort, where the experiment has several")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the prepared cohort, where it has been moved")
    parser.add_argument("--name", help="name of the model (default: of the method or run)")
    parser.add_argument("--onnx", action="store_true", help="write model.onnx too (needs the extra onnx)")
    parser.add_argument(
        "--without-calibration", action="store_true", help="no intervals, calibration and distance; needs no cohort"
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="CLASS", help="class, module or package that may be imported"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the model in DIR")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 0 when the folder is written."""
    from ecgcmr.experiments.export_choices import PLAN_FILE, Choices
    from ecgcmr.experiments.export_experiment import export_experiment
    from ecgcmr.experiments.export_stage import export_stage
    from ecgcmr.inference.card_text import card_text
    from ecgcmr.inference.model_folder import DESCRIPTION_FILE, README_FILE, write_model_folder

    _check_out(args.out, DESCRIPTION_FILE, overwrite=args.overwrite)
    calibrate = not args.without_calibration
    if (args.run / PLAN_FILE).is_file():
        choices = Choices(args.method, args.labels, args.protocol, args.task, tuple(args.trust), calibrate)
        exported = export_experiment(args.run, args.root, choices)
    else:
        for option in ("method", "labels", "protocol", "task"):
            if vars(args)[option] is not None:
                raise UserError(f"--{option}: is for an experiment; {args.run} is none (it has no {PLAN_FILE})")
        exported = export_stage(args.run, args.root, tuple(args.trust), calibrate=calibrate)
    description = exported.description if args.name is None else replace(exported.description, name=args.name)
    with _staged(args.out) as folder:
        written = write_model_folder(folder, description, exported.tensors)
        if args.onnx:
            from ecgcmr.inference.onnx_file import add_onnx

            written = add_onnx(written, tuple(args.trust))
        write_atomically(folder / README_FILE, card_text(written.description).encode())
    for note in exported.notes:
        print(f"note: {printable(note)}")
    count = len(written.description.targets)
    print(f"model {printable(description.name)} with {count} targets in {printable(args.out)}")
    return 0


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` whose files take their places together, once all of them are written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield staged
        out.mkdir(exist_ok=True)
        for name in MODEL_FILES:  # the description last: without it a folder is no model
            if (staged / name).exists():
                os.replace(staged / name, out / name)
            else:
                (out / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check_out(out: Path, description: str, *, overwrite: bool) -> None:
    """Refuse a folder that holds something else, or a model unless it is to be replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a folder")
    if not any(out.iterdir()):
        return
    if not (out / description).is_file():
        raise UserError(f"--out {out}: holds files that are no model; name an empty or new folder")
    if not overwrite:
        raise UserError(f"--out {out}: holds a model; add --overwrite to replace it, or name another folder")
