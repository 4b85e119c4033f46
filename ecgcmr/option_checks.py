"""Options that are out of their range or none of the choices, refused in one line that names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.text import printable

_OF_A_FILE = re.compile(
    r"\.(csv|tsv|txt|jsonl?|ya?ml|md|tex|html?|pdf|png|svg|jpg|log|xml|parquet|np[yz]|pkl|h5|hdf5|xlsx?|onnx|pth?|ckpt"
    r"|safetensors|zip|tar|gz)",
    re.IGNORECASE,
)


def check_least(least: float, **options: float) -> None:
    """Raise UserError if an option, given by its name, is below the least value that it may have."""
    for name, value in options.items():
        if not value >= least:
            raise UserError(f"{name} {value}: must be at least {least}")


def check_choice(choices: Sequence[str], **options: str) -> None:
    """Raise UserError if an option, given by its name, is none of the choices."""
    for name, value in options.items():
        if value not in choices:
            raise UserError(f"{name} {value!r}: choose one of {', '.join(choices)}")


def folder_to_write(text: str, otherwise: str = "") -> Path:
    """Return the folder that ``--out`` names; the type of that option.

    Args:
        text: Its path.
        otherwise: What else may be given, for the message.

    Raises:
        UserError: The name has the ending of a file, such as ``results.csv``, and would become that of a folder.
    """
    folder = Path(text)
    if _OF_A_FILE.fullmatch(folder.suffix) and not folder.exists():
        raise UserError(
            f"--out {printable(folder, 100)}: is to be a folder, and {folder.suffix} is the ending of a file; give "
            f"{printable(folder.with_suffix(''), 100)}{otherwise}"
        )
    return folder
