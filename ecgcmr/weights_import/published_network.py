"""Checkpoints of published encoders -> ``PublishedECG``, or one of images: names, drops, holders by the registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ecgcmr.encoders import CMRInput, ECGInput
from ecgcmr.encoders.published import Published, PublishedECG, PublishedImages
from ecgcmr.encoders.published.published_ecg import build_network
from ecgcmr.encoders.published.registry import PublishedNetwork
from ecgcmr.errors import UserError
from ecgcmr.files import sha256_of
from ecgcmr.shards.layout import LEADS, ECGLayout
from ecgcmr.torch_file import is_safetensors, load_torch_file
from ecgcmr.weights_import.checkpoint import OWN_KEY, Checkpoint, checked_tensors
from ecgcmr.weights_import.conversion import Conversion, KeyLine, drop_reason, fill

CLASS_PATH = "ecgcmr.encoders.published.PublishedECG"
KIND = "published"
_NETWORK = "network."


def read_published(
    path: Path, entry: PublishedNetwork, given: Collection[str] = ()
) -> tuple[Checkpoint, dict[str, Any]]:
    """Read a published file, of ``torch.save`` or of safetensors; nothing that is in it runs.

    Args:
        path: The file.
        entry: Of the encoder that it should be of.
        given: Arguments of the network that are known and need not be read.

    Returns:
        Its tensors, and arguments of the network that stand beside them.

    Raises:
        UserError: The file is missing, damaged, of this program, or laid out otherwise than that encoder's.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; fetch the weights of {entry.title} ({entry.weights})")
    if is_safetensors(path):
        return Checkpoint(path.name, sha256_of(path), KIND, checked_tensors(path, "file", _safetensors(path))), {}
    layout = entry.layout
    content = load_torch_file(path, kind="checkpoint", objects=layout.objects)
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, no dictionary of tensors as of {entry.title}")
    if OWN_KEY in content:
        raise UserError(f"{path}: is a checkpoint of this program, which needs no import; give its run folder")
    holder = next((key for key in layout.holders if not key or key in content), None)
    if holder is None:
        held = ", ".join(sorted(map(str, content)))[:200] or "nothing"
        raise UserError(f"{path}: {entry.title} lies under the key {layout.holders[0]}, the file holds: {held}")
    tensors = content[holder] if holder else content
    read = {name: _inside(path, content, name, keys) for name, keys in layout.read.items() if name not in given}
    return Checkpoint(path.name, sha256_of(path), KIND, checked_tensors(path, holder or "file", tensors)), read


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); fetch the file again") from error


def _inside(path: Path, content: Any, name: str, keys: Sequence[str]) -> Any:
    """Return a plain value inside nested mappings."""
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            raise UserError(
                f"{path}: does not say {'.'.join(keys)}, which no tensor shows; give --argument {name}=VALUE"
            )
        content = content[key]
    if not isinstance(content, bool | int | float | str):
        raise UserError(f"{path}: {'.'.join(keys)} is a {type(content).__name__}; give --argument {name}=VALUE")
    return content


def convert_published(
    checkpoint: Checkpoint,
    entry: Published,
    *,
    sampling_rate: float | None = None,
    samples: int | None = None,
    pieces: int | None = None,
    preparation: str | None = None,
    sizes: Mapping[str, Any] | None = None,
    dropped: Sequence[str] = (),
) -> Conversion:
    """Fill a published encoder, with the making of its input, from a file of its authors.

    Args:
        checkpoint: Read by ``read_published``.
        entry: The encoder.
        sampling_rate: Of the recordings that it will be given, in Hz; None: 500.
        samples: Theirs; None: as long as the published input.
        pieces: Pieces of a recording, where the published preparation cuts any.
        preparation: One of the registry's.
        sizes: Arguments of the network, where the file is of another size than the published one.
        dropped: Further beginnings of names to leave out.

    Raises:
        UserError: Keys are missing, unknown or misshapen.
    """
    options = {"samples": samples, "sampling_rate": sampling_rate, "pieces": pieces, "preparation": preparation}
    given = {key: value for key, value in options.items() if value is not None}
    arguments: dict[str, Any] = {"name": entry.name, **given}
    if sizes:
        arguments["sizes"] = dict(sizes)
    with torch.random.fork_rng(devices=[]):  # initial values are overwritten; the caller's draws stay his own
        encoder = PublishedECG(**arguments)
    keys = _key_lines(checkpoint, entry, dropped, _NETWORK)
    fill(encoder, checkpoint.name, checkpoint.tensors, keys)
    return Conversion(encoder, CLASS_PATH, arguments, tuple(keys))


def convert_published_images(
    checkpoint: Checkpoint,
    entry: PublishedImages,
    *,
    sizes: Mapping[str, Any] | None = None,
    dropped: Sequence[str] = (),
) -> Conversion:
    """Fill a published encoder of images from a file of its authors.

    Args:
        checkpoint: Read by ``read_published``.
        entry: The encoder.
        sizes: Arguments of the network, where the file is of another size than the published one.
        dropped: Further beginnings of names to leave out.

    Raises:
        UserError: Keys are missing, unknown or misshapen.
    """
    arguments = {**entry.init_args, **(sizes or {})}
    with torch.random.fork_rng(devices=[]):  # as above
        encoder = build_network(entry, arguments)
    keys = _key_lines(checkpoint, entry, dropped)
    fill(encoder, checkpoint.name, checkpoint.tensors, keys)
    return Conversion(encoder, entry.class_path, arguments, tuple(keys))


def _key_lines(
    checkpoint: Checkpoint, entry: PublishedNetwork, dropped: Sequence[str], before: str = ""
) -> list[KeyLine]:
    """Say what becomes of every key; ``before`` is what our names begin with."""
    keys = []
    for name, ours in entry.layout.names.ours(list(checkpoint.tensors)).items():
        reason = drop_reason(name, {}, dropped) or ("" if ours is not None else "no part of the encoder")
        keys.append(KeyLine(name, "" if reason else f"{before}{ours}", tuple(checkpoint.tensors[name].shape), reason))
    return keys


def image_preparation(specification: CMRInput) -> dict[str, Any]:
    """Return the recipe of the images that a published encoder is given, as far as it asks for one.

    Args:
        specification: Of its input.
    """
    made = {"view": specification.view, "field_of_view_mm": specification.height * (specification.pixel_mm or 1.0)}
    return made if specification.slice_mm is None else {**made, "slice_distance_mm": specification.slice_mm}


def measured_preparation(specification: ECGInput) -> dict[str, Any]:
    """Return the recipe of the recordings that a published encoder is given: as they were measured.

    Args:
        specification: Of its input.
    """
    from ecgcmr.preparation.cleaning import Cleaning  # heavy: filters
    from ecgcmr.preparation.ecg import StandardOptions

    made, window, layout = Cleaning.from_name("none"), StandardOptions(), ECGLayout()
    rate = specification.sampling_rate
    whole = round(window.samples / window.sampling_rate * rate)
    return {
        "cleaning": made.to_dict(),
        "unit": made.unit,
        "sampling_rate": rate,
        "samples": max(whole, specification.samples),
        "leads": list(LEADS),
        "dtype": layout.dtype,
        "short": window.short,
        "window": window.window,
    }
