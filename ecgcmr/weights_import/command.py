"""``ecgcmr import-weights FILE --out DIR``: published weights into encoder files that every stage loads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgcmr import __version__
from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.option_checks import folder_to_write
from ecgcmr.text import printable

if TYPE_CHECKING:
    from ecgcmr.weights_import.checkpoint import Checkpoint
    from ecgcmr.weights_import.conversion import Conversion

HELP = """\
Import published weights: signal_encoder_*.pth (ECG, key "model") or image_encoder_*.pth (CMR, key "state_dict") of the
method's authors; with --as NAME those of an encoder of others, such as ecgfounder (docs/published_encoders.md).

Writes to DIR encoder.safetensors and encoder.yaml, which stages take as encoder_weights (ecg_encoder_weights,
cmr_encoder_weights), and import.json, which says what became of every key. Nothing in the file is executed. A key
without a place, a parameter without a value and a shape that differs are errors.

examples:
  ecgcmr import-weights signal_encoder_mdm.pth --out runs/published/mdm
  ecgcmr import-weights signal_encoder_mmcl.pth --fresh-norm --out runs/published/mmcl
  ecgcmr import-weights image_encoder_simclr.pth --size 96 --out runs/published/simclr
  ecgcmr import-weights 12_lead_ECGFounder.pth --as ecgfounder --out runs/published/ecgfounder
  ecgcmr import-weights cinema.safetensors --as cinema --out runs/published/cinema"""

REPORT_FILE = "import.json"
_CARD_FILE = "encoder.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``import-weights``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="published checkpoint")
    parser.add_argument("--out", type=folder_to_write, required=True, metavar="DIR", help="folder of the encoder files")
    parser.add_argument("--as", dest="name", metavar="NAME", help="published encoder of others that the file is of")
    parser.add_argument(
        "--drop", action="append", default=[], metavar="PREFIX", help="leave out keys that begin so (repeatable)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an import of another file or with other options in DIR"
    )
    signal = parser.add_argument_group("signal encoders")
    signal.add_argument(
        "--pooling", choices=("mean", "cls", "attention"), help="pooling of the new encoder (default: mean)"
    )
    signal.add_argument(
        "--fresh-norm", action="store_true", help="start the final norm anew, as the published downstream code does"
    )
    signal.add_argument("--heads", type=int, metavar="N", help="attention heads, where the size is not a published one")
    signal.add_argument("--leads", type=int, metavar="N", help="leads it was trained on (default: 12)")
    signal.add_argument(
        "--sampling-rate",
        type=float,
        metavar="HZ",
        help="of its recordings; with --as of those it will be given (default: 500)",
    )
    image = parser.add_argument_group("image encoders")
    image.add_argument("--size", type=int, metavar="PX", help="rows and columns of the images (default: 210)")
    others = parser.add_argument_group("encoders of others (--as)")
    others.add_argument(
        "--samples", type=int, metavar="N", help="of the recordings it will be given (default: its own)"
    )
    others.add_argument("--pieces", type=int, metavar="N", help="pieces of a recording that are averaged (default: 1)")
    others.add_argument("--preparation", metavar="NAME", help="another way to make its input, where sources disagree")
    others.add_argument(
        "--argument",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the network, where the file is of another size than the published one (repeatable)",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, write and report.

    Returns:
        0.

    Raises:
        UserError: The checkpoint cannot be read or does not fit, an option belongs to the other kind of encoder, or
            DIR holds an encoder that is not an import.
    """
    from ecgcmr.encoders import export_encoder, load_encoder
    from ecgcmr.inspection.text import new_console, print_table
    from ecgcmr.output_folder import output_folder

    out: Path = args.out
    if (out / _CARD_FILE).exists() and not (out / REPORT_FILE).exists():
        raise UserError(f"{out}: holds the encoder of a run, which stays as it is; choose another folder")
    checkpoint, conversion, preparation = _imported(args)
    report = _report(checkpoint, conversion)
    with output_folder(out, "import-weights", report, names=(REPORT_FILE,), overwrite=args.overwrite) as staged:
        write_atomically(staged / REPORT_FILE, (json.dumps(report, indent=2) + "\n").encode())
        export_encoder(
            conversion.encoder,
            staged,
            class_path=conversion.class_path,
            init_args=conversion.init_args,
            parent=checkpoint.name,
            preparation=preparation,
        )
        load_encoder(staged)  # what was written can be read, strictly
    console = new_console()
    title = f"{checkpoint.name}: {report['mapped']} keys mapped, {report['dropped']} dropped, {report['new']} new"
    print_table(console, title, ("key in the file", "parameter", "shape", "note"), _cells(conversion), left=4)
    console.print(f"encoder in {printable(out)}", soft_wrap=True, markup=False)
    return 0


_SIGNAL = ("pooling", "heads", "leads")
_OTHERS = ("samples", "pieces", "preparation")


def _imported(args: argparse.Namespace) -> tuple[Checkpoint, Conversion, dict[str, Any]]:
    """Return the file, the encoder made of it, and the recipe of the recordings that the encoder is to see."""
    from ecgcmr.weights_import.checkpoint import read_checkpoint
    from ecgcmr.weights_import.published import published_preparation

    if args.name is not None:
        return _of_others(args)
    given = [name for name in (*_OTHERS, "argument") if getattr(args, name) not in (None, [])]
    if given:
        raise UserError(f"--{given[0]} is for encoders of others; say which by --as")
    checkpoint = read_checkpoint(args.file)
    conversion = _convert(checkpoint, args)
    return checkpoint, conversion, published_preparation(checkpoint.kind, conversion.init_args)


def _of_others(args: argparse.Namespace) -> tuple[Checkpoint, Conversion, dict[str, Any]]:
    from ecgcmr.encoders import require_encoder
    from ecgcmr.encoders.published import PublishedImages, published_network
    from ecgcmr.weights_import.published_network import (
        convert_published,
        convert_published_images,
        image_preparation,
        measured_preparation,
        read_published,
    )

    given = [name for name in (*_SIGNAL, "fresh_norm", "size") if getattr(args, name) not in (None, False)]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')} is not for an encoder of others (--as {args.name})")
    entry = published_network(args.name)
    sizes = dict(_argument(text) for text in args.argument)
    checkpoint, read = read_published(args.file, entry, given=sizes)
    options = {name: getattr(args, name) for name in ("sampling_rate", *_OTHERS)}
    if isinstance(entry, PublishedImages):
        odd = [name for name, value in options.items() if value is not None]
        if odd:
            raise UserError(f"--{odd[0].replace('_', '-')} is for encoders of ECGs, {args.name} is one of images")
        conversion = convert_published_images(checkpoint, entry, sizes={**read, **sizes}, dropped=args.drop)
        return checkpoint, conversion, image_preparation(require_encoder(conversion.encoder).input_spec)
    conversion = convert_published(checkpoint, entry, sizes={**read, **sizes}, dropped=args.drop, **options)
    return checkpoint, conversion, measured_preparation(require_encoder(conversion.encoder).input_spec)


def _argument(text: str) -> tuple[str, Any]:
    """Read ``name=value``; the value is YAML, such as ``[8, 16]``."""
    import yaml

    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise UserError(f"--argument {text}: is no argument; write it as name=value")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--argument {text}: {value} is no value; write it as in a config") from error


def _convert(checkpoint: Checkpoint, args: argparse.Namespace) -> Conversion:
    from ecgcmr.weights_import.image_encoder import convert_image_encoder
    from ecgcmr.weights_import.signal_encoder import convert_signal_encoder

    signal = {name: getattr(args, name) for name in (*_SIGNAL, "sampling_rate")}
    given = {name: value for name, value in signal.items() if value is not None}
    if args.fresh_norm:
        given["fresh_norm"] = True
    if checkpoint.kind == "signal":
        if args.size is not None:
            raise UserError(f"{checkpoint.name}: --size is for image encoders, this is a signal encoder")
        return convert_signal_encoder(checkpoint, dropped=args.drop, **given)
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{checkpoint.name}: {options} for signal encoders only, this is an image encoder")
    size = {} if args.size is None else {"height": args.size, "width": args.size}
    return convert_image_encoder(checkpoint, dropped=args.drop, **size)


def _report(checkpoint: Checkpoint, conversion: Conversion) -> dict:
    """Content of ``import.json``."""
    lines = conversion.keys
    return {
        "format": "ecgcmr-import",
        "version": 1,
        "code_version": __version__,
        "file": checkpoint.name,
        "sha256": checkpoint.sha256,
        "kind": checkpoint.kind,
        "class_path": conversion.class_path,
        "init_args": conversion.init_args,
        "mapped": sum(bool(line.source and line.target) for line in lines),
        "dropped": sum(not line.target for line in lines),
        "new": sum(not line.source for line in lines),
        "keys": [
            {"from": line.source or None, "to": line.target or None, "shape": list(line.shape), "note": line.note}
            for line in lines
        ],
    }


def _cells(conversion: Conversion) -> list[tuple[str, str, str, str]]:
    """A row of the table for every key."""
    return [
        (line.source or "-", line.target or "dropped", " x ".join(map(str, line.shape)) or "scalar", line.note)
        for line in conversion.keys
    ]
