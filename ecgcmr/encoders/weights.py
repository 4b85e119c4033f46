"""Encoders on their way between stages: `encoder.safetensors` and `encoder.yaml`, written whole and loaded strictly."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import ecgcmr
from ecgcmr.contracts import lacking
from ecgcmr.encoders.card_checks import check_card_entries, check_layer_counts, check_trusted
from ecgcmr.encoders.finite_weights import require_finite_weights
from ecgcmr.encoders.protocol import AdaptableEncoder, Encoder, SizedEncoder, require_encoder
from ecgcmr.errors import UserError
from ecgcmr.files import write_atomically
from ecgcmr.yaml_file import read_yaml

FORMAT = "ecgcmr-encoder"
FORMAT_VERSION = 2
_ADDED = {1: (), 2: ("preparation", "training")}
"""Entries that came with a version; a card of an earlier one lacks them, and they are None."""
WEIGHTS_FILE = "encoder.safetensors"
CARD_FILE = "encoder.yaml"


@dataclasses.dataclass(frozen=True)
class EncoderCard:
    """What `encoder.yaml` says.

    Attributes:
        class_path: Importable name of the encoder's class.
        init_args: Its constructor arguments, plain values.
        input_spec: Its input specification as a mapping.
        fingerprint: Fingerprint of the prepared data it was trained on, None where there was none.
        parent: Name of the run it came from, None where there was none.
        code_version: Version of this package that wrote it.
        sha256: Checksum of the weights file.
        preparation: Recipe of the recordings it was trained on (``ecgcmr.shards.recipe``); None where it is not known.
        training: What its run was trained for: task, targets, leads, windows and more; None where it is not known.
    """

    class_path: str
    init_args: dict[str, Any]
    input_spec: dict[str, Any]
    fingerprint: str | None
    parent: str | None
    code_version: str
    sha256: str
    preparation: dict[str, Any] | None = None
    training: dict[str, Any] | None = None


def export_encoder(
    encoder: nn.Module,
    folder: str | Path,
    *,
    class_path: str,
    init_args: Mapping[str, Any],
    fingerprint: str | None = None,
    parent: str | None = None,
    preparation: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Path:
    """Write an encoder so that another stage can load it.

    Args:
        encoder: A module that meets the encoder contract.
        folder: Where both files go; made if missing.
        class_path: Importable name of its class.
        init_args: Plain constructor arguments that build it again; the name of a size is kept as its numbers.
        fingerprint: Fingerprint of the prepared data.
        parent: Name of the run that trained it; no path.
        preparation: Recipe of the recordings that it was trained on.
        training: What its run was trained for.

    Returns:
        The folder.

    Raises:
        UserError: The encoder does not meet the contract, `init_args` are not plain values, or a weight is not finite.
    """
    require_encoder(encoder)
    folder = Path(folder)
    # Cloned, for an encoder may use a weight in two places, and the file format keeps no memory twice.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in encoder.state_dict().items()}
    require_finite_weights(tensors, folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = safetensors.torch.save(tensors)
    if isinstance(encoder, SizedEncoder):
        init_args = encoder.spelled_out(init_args)
    card = EncoderCard(
        class_path=class_path,
        init_args=_plain(dict(init_args), "init_args"),
        input_spec=specification_of(encoder),
        fingerprint=fingerprint,
        parent=parent,
        code_version=ecgcmr.__version__,
        sha256=hashlib.sha256(weights).hexdigest(),
        preparation=None if preparation is None else _plain(dict(preparation), "preparation"),
        training=None if training is None else _plain(dict(training), "training"),
    )
    text = yaml.safe_dump({"format": FORMAT, "version": FORMAT_VERSION, **dataclasses.asdict(card)}, sort_keys=False)
    write_atomically(folder / WEIGHTS_FILE, weights)
    write_atomically(folder / CARD_FILE, text.encode())
    return folder


def read_encoder_card(folder: str | Path) -> EncoderCard:
    """Read `encoder.yaml` of a run folder.

    Raises:
        UserError: The file is missing, not YAML, of another format or incomplete.
    """
    path = Path(folder) / CARD_FILE
    if not path.exists():
        raise UserError(f"{path}: no such file; give the run folder of a finished stage")
    content = read_yaml(path, what="encoder card")
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise UserError(f"{path}: not an encoder card (format {FORMAT}); give the run folder of a finished stage")
    version = content.pop("version", None)
    if type(version) is not int or version not in _ADDED:
        raise UserError(f"{path}: version {version} of the encoder card; this code reads up to {FORMAT_VERSION}")
    wanted = {field.name for field in dataclasses.fields(EncoderCard)} - set(_ADDED[FORMAT_VERSION])
    wanted |= set(_ADDED[version])
    if set(content) != wanted:
        odd = ", ".join(sorted(map(str, wanted ^ set(content))))[:300]
        raise UserError(f"{path}: missing or unknown entries: {odd}; export the encoder again")
    check_card_entries(content, path)
    return EncoderCard(**content)


def load_encoder(folder: str | Path, trusted: Collection[str] = ()) -> nn.Module:
    """Build the encoder that a run folder describes and load its weights.

    Args:
        folder: Holds `encoder.safetensors` and `encoder.yaml`.
        trusted: Modules, packages or class paths beside this package whose code may be imported and run.

    Raises:
        UserError: A file is missing or damaged, the class is not trusted, cannot be imported or built, or is no
            encoder.
    """
    card = read_encoder_card(folder)
    path = Path(folder) / CARD_FILE
    check_trusted(card.class_path, trusted, path)
    tensors = _read_tensors(Path(folder) / WEIGHTS_FILE, card.sha256)
    require_finite_weights(tensors, Path(folder) / WEIGHTS_FILE)
    return build_encoder(card.class_path, card.init_args, card.input_spec, tensors, path, trusted)


def build_encoder(
    class_path: str,
    init_args: Mapping[str, Any],
    input_spec: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    path: Path,
    trusted: Collection[str] = (),
) -> nn.Module:
    """Build an encoder that a file describes, with its weights.

    Args:
        class_path: Of its class.
        init_args: Its constructor arguments.
        input_spec: What it must say of its input.
        tensors: Its weights, all of them, finite.
        path: Of the file, for messages.
        trusted: As in ``load_encoder``.

    Raises:
        UserError: The class is not trusted, cannot be imported or built, is no encoder, or the weights do not fit.
    """
    check_trusted(class_path, trusted, path)
    check_layer_counts(init_args, len(tensors), path)
    encoder = _built(_import_class(class_path, path), class_path, init_args, tensors, path)
    require_encoder(encoder)
    specification = specification_of(encoder)
    if specification != dict(input_spec):
        raise UserError(f"{path}: input_spec is {dict(input_spec)}, its encoder takes {specification}; export it again")
    _require_fit(tensors, encoder.state_dict(), f"{path}: weights do not fit {type(encoder).__name__}")
    encoder.load_state_dict(dict(tensors), strict=True)
    return encoder


def load_encoder_weights(
    encoder: nn.Module,
    folder: str | Path,
    expected_missing: Collection[str] = (),
    expected_unused: Collection[str] = (),
    adapt_input: bool = False,
) -> EncoderCard:
    """Load a run folder's weights into an encoder, strictly.

    Args:
        encoder: Receives the weights.
        folder: Holds `encoder.safetensors` and `encoder.yaml`.
        expected_missing: Parameters, or modules with all their parameters ("attention_pool"), that the file may lack;
            they keep their initial values.
        expected_unused: Parameters or modules of the file that the encoder may lack.
        adapt_input: Take weights made for another input (more leads, another length or image size) if the encoder can
            adapt them; see `protocol.AdaptableEncoder`. Otherwise another input is an error.

    Returns:
        What the folder says about the encoder.

    Raises:
        UserError: The input specifications differ (and `adapt_input` is off or does not help), or keys or shapes do
            not match; every one is named.
    """
    require_encoder(encoder)
    card = read_encoder_card(folder)
    card_path, path = Path(folder) / CARD_FILE, Path(folder) / WEIGHTS_FILE
    specification = specification_of(encoder)
    kinds_differ = card.input_spec.get("kind") != specification["kind"]
    if card.input_spec != specification and (kinds_differ or not adapt_input):
        rates_differ = card.input_spec.get("sampling_rate") != specification.get("sampling_rate")
        remedy = "set model.adapt_encoder_weights to take them over"
        if kinds_differ or rates_differ:
            remedy = f"give an encoder of the same {'kind' if kinds_differ else 'sampling rate'}"
        raise UserError(
            f"{card_path}: encoder expects input {card.input_spec}, the one to be filled {specification}; {remedy}"
        )
    source, target = _read_tensors(path, card.sha256), encoder.state_dict()
    require_finite_weights(source, path)
    if adapt_input and not kinds_differ:
        source = _adapt(encoder, source, card, card_path)
    _require_fit(
        source, target, f"{path}: weights do not fit {type(encoder).__name__}", expected_missing, expected_unused
    )
    encoder.load_state_dict({key: source.get(key, value) for key, value in target.items()}, strict=True)
    return card


def _require_fit(
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    start: str,
    expected_missing: Collection[str] = (),
    expected_unused: Collection[str] = (),
) -> None:
    """UserError that names every key and shape in which weights and an encoder differ."""
    problems = [f"{key} missing in file" for key in target if key not in source and not _named(key, expected_missing)]
    problems += [f"{key} not in encoder" for key in source if key not in target and not _named(key, expected_unused)]
    for key in target.keys() & source.keys():
        if target[key].shape != source[key].shape:
            problems.append(f"{key} is {tuple(source[key].shape)} in file, {tuple(target[key].shape)} in encoder")
    if problems:
        raise UserError(f"{start}: {'; '.join(sorted(problems))}")


def _built(
    encoder_class: type[nn.Module],
    class_path: str,
    init_args: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    path: Path,
) -> nn.Module:
    """The described encoder with initial weights; one of this package is laid out without memory first."""
    try:
        if encoder_class.__module__.partition(".")[0] == ecgcmr.__name__:
            with torch.device("meta"), _NothingDrawn():
                _require_fit(tensors, encoder_class(**init_args).state_dict(), f"{path}: init_args do not fit")
        return encoder_class(**init_args)
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{path}: init_args do not fit {class_path} ({reason})") from error


class _NothingDrawn(TorchFunctionMode):
    """Leaves parameters without memory as they are: to draw normal ones there, torch would import its compiler."""

    _DRAWS = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in self._DRAWS else func(*args, **(kwargs or {}))


def _adapt(encoder: nn.Module, weights: dict[str, Tensor], card: EncoderCard, path: Path) -> dict[str, Tensor]:
    """Weights that fit the encoder's own input; unchanged where the inputs agree in all."""
    if card.input_spec == specification_of(encoder):
        return weights
    if card.class_path.rpartition(".")[2] != type(encoder).__name__:
        raise UserError(f"{path}: weights of {card.class_path} cannot be adapted to {type(encoder).__name__}")
    try:
        return require_encoder(encoder, AdaptableEncoder).adapt_weights(weights, card.input_spec)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _named(key: str, names: Collection[str]) -> bool:
    return any(key == name or key.startswith(name + ".") for name in names)


def specification_of(encoder: Any) -> dict[str, Any]:
    """Return an encoder's input specification as plain values, as files keep it."""
    # None stands for "nothing particular" and is left out, so that cards written before a field was there still agree.
    fields = {name: value for name, value in dataclasses.asdict(encoder.input_spec).items() if value is not None}
    return {"kind": type(encoder.input_spec).__name__, **_plain(fields, "input_spec")}


def _read_tensors(path: Path, checksum: str) -> dict[str, Tensor]:
    if not path.exists():
        raise UserError(f"{path}: no such file; give the run folder of a finished stage")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise UserError(f"{path}: checksum differs from {CARD_FILE}; the file is damaged or of another run")
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error})") from error


def _import_class(class_path: str, card: Path) -> type[nn.Module]:
    module_name, _, class_name = class_path.rpartition(".")  # of a module itself: nothing that it imports in turn
    try:
        candidate = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{card}: class_path {class_path} cannot be imported; install the package it is in") from error
    if not (isinstance(candidate, type) and issubclass(candidate, nn.Module)):
        raise UserError(f"{card}: class_path {class_path} is not a torch.nn.Module class")
    # Checked before anything of it is called: only methods can be seen on a class.
    missing = [name for name in lacking(candidate, Encoder) if callable(vars(Encoder).get(name))]
    if missing:
        raise UserError(f"{card}: class_path {class_path} is not an encoder: it lacks {', '.join(missing)}")
    return candidate


def _plain(value: Any, name: str) -> Any:
    """Value with tuples as lists, so that safe YAML holds it; UserError for anything that is not plain."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, f"{name}.{key}") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, name) for entry in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise UserError(
        f"encoder {name} is a {type(value).__name__}: only numbers, strings, lists and mappings can be kept"
    )
