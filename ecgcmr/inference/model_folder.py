"""A model folder: `model.yaml` and `model.safetensors`, with which a trained model and its preparation travel together.

A folder may be a stranger's. It is data: everything in it is checked before a class is imported (``model.Model``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import yaml
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of, write_atomically
from ecgcmr.inference.description_checks import check_description
from ecgcmr.inference.folder_tensors import Tensors, check_tensors, read_tensors
from ecgcmr.inference.model_entries import FORMAT, FORMAT_VERSION, ModelDescription
from ecgcmr.inference.typed_entries import typed_entries
from ecgcmr.yaml_file import read_yaml

DESCRIPTION_FILE, TENSORS_FILE, README_FILE, ONNX_FILE = "model.yaml", "model.safetensors", "README.md", "model.onnx"
_MOST_BYTES = 4_000_000


@dataclass(frozen=True)
class ModelFolder:
    """What lies in a model folder.

    Attributes:
        folder: Where it lies.
        description: Of `model.yaml`.
        tensors: Of `model.safetensors`, name -> array.
    """

    folder: Path
    description: ModelDescription
    tensors: Tensors

    def part(self, prefix: str) -> Tensors:
        """Return the tensors whose names start with a prefix such as ``encoder.``, without it."""
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def read_model_folder(folder: str | Path, within: Path | None = None) -> ModelFolder:
    """Read and check a model folder; no class is imported.

    Args:
        folder: The folder.
        within: Folder out of which no link may lead; the folder itself if None.

    Raises:
        UserError: In one line: a file is missing, leads out of the folder, is damaged, or says what it cannot.
    """
    folder = Path(folder)
    description = read_description(folder, within)
    tensors = read_tensors(inner_file(folder, TENSORS_FILE, within), description.sha256)
    check_tensors(description, tensors, str(folder / TENSORS_FILE))
    return ModelFolder(folder, description, tensors)


def read_description(folder: str | Path, within: Path | None = None) -> ModelDescription:
    """Read and check `model.yaml` alone; arguments and errors as of ``read_model_folder``."""
    path = inner_file(Path(folder), DESCRIPTION_FILE, within)
    content = read_yaml(path, what="description of a model", root=dict, most=_MOST_BYTES)
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: not the description of a model (format {FORMAT}); write one with 'ecgcmr export'")
    if type(content.get("version")) is not int or content["version"] > FORMAT_VERSION:
        raise UserError(f"{path}: its version is {content.get('version')}; this code reads up to {FORMAT_VERSION}")
    description = typed_entries(ModelDescription, content, str(path))
    check_description(description, str(path))
    return description


def inner_file(folder: Path, name: str, within: Path | None = None) -> Path:
    """Return the path of a file of a model folder.

    Raises:
        UserError: It is missing, no file, or a link that leads out of the folder.
    """
    path = folder / name
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        hint = "give the folder that 'ecgcmr export' wrote"
        raise UserError(f"{path}: no such file; {hint}") from error
    if not real.is_relative_to((within or folder).resolve()):
        raise UserError(f"{path}: is a link that leads out of the model folder; copy the file in its place")
    if not real.is_file():
        raise UserError(f"{path}: is not a file")
    return path


def write_model_folder(
    folder: str | Path, description: ModelDescription, tensors: Mapping[str, NDArray]
) -> ModelFolder:
    """Write `model.safetensors` and, last, `model.yaml`.

    Args:
        folder: Made if missing.
        description: Its checksum is put in here.
        tensors: Name -> array; float32 or float64 beside those of the encoder.

    Returns:
        What was written, read again.

    Raises:
        UserError: Description and tensors do not fit each other.
    """
    folder = Path(folder)
    arrays = {name: np.asarray(values, order="C") for name, values in sorted(tensors.items())}
    weights = safetensors.numpy.save(arrays)
    described = replace(description, sha256=hashlib.sha256(weights).hexdigest())
    check_description(described, str(folder / DESCRIPTION_FILE))
    check_tensors(described, arrays, str(folder / TENSORS_FILE))
    write_atomically(folder / TENSORS_FILE, weights)
    write_description(folder, described)
    return read_model_folder(folder)


def write_description(folder: Path, description: ModelDescription) -> None:
    """Write `model.yaml`, such as after `model.onnx` was added."""
    ordered = {"format": FORMAT, "version": FORMAT_VERSION, **_plain(asdict(description))}
    text = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=120)
    write_atomically(folder / DESCRIPTION_FILE, text.encode())


def check_onnx_file(folder: Path, description: ModelDescription, within: Path | None = None) -> Path:
    """Return `model.onnx` of a folder.

    Raises:
        UserError: There is none, or it is another than was written.
    """
    if description.onnx is None:
        raise UserError(f"{folder}: has no {ONNX_FILE}; export the model with --onnx")
    path = inner_file(folder, ONNX_FILE, within)
    if sha256_of(path) != description.onnx.sha256:
        raise UserError(f"{path}: checksum differs from {DESCRIPTION_FILE}; the file is damaged or of another model")
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value
