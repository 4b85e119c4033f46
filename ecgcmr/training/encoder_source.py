"""The network of an encoder whose weights are given is built from ``encoder.yaml`` beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from jsonargparse import Namespace
from safetensors import SafetensorError, safe_open

from ecgcmr.encoders.card_checks import check_layer_counts, check_trusted
from ecgcmr.encoders.protocol import SizedEncoder
from ecgcmr.encoders.weights import CARD_FILE, WEIGHTS_FILE, EncoderCard, read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.yaml_file import mapping_at


def add_networks(
    config: Mapping[str, Any], folders: Mapping[str, str], given: Collection[str], *, loads: bool
) -> set[str]:
    """Put the networks that a config leaves to the folders of their weights into it.

    A config does so with ``encoder: null``, without an ``encoder``, with ``init_args`` alone (such as another pooling),
    or with a class alone, which is trusted by being named.

    Args:
        config: Of a command, changed in place.
        folders: Argument such as ``encoder_weights`` -> folder that the command line gives.
        given: Arguments such as ``encoder`` that the command line gives whole.
        loads: Whether the weights will be loaded, so that a network of another class is a mistake.

    Returns:
        The arguments that were put in.

    Raises:
        UserError: There is no ``encoder.yaml``, its class is not trusted or not that of the config, or neither network
            nor weights are given.
    """
    arguments = mapping_at(config, "model", "init_args")
    weights = {name: value for name, value in arguments.items() if names_weights(name)} | dict(folders)
    added = set()
    for argument in dict.fromkeys([name.removesuffix("_weights") for name in weights] + [*arguments]):
        if not argument.endswith("encoder") or argument in given:
            continue
        value = arguments.get(argument) or {}
        network: dict[str, Any] = {"class_path": value} if isinstance(value, str) else value
        folder = weights.get(f"{argument}_weights")
        if "class_path" in network and "init_args" in network:
            if loads and isinstance(folder, str) and (Path(folder) / CARD_FILE).is_file():
                _check_class(str(network["class_path"]), Path(folder), argument)
            continue
        if folder in (None, "null"):
            if argument in arguments and "class_path" not in network and f"{argument}_weights" in weights:
                raise UserError(
                    f"model.{argument}: names no network; give one, such as encoders/ecg_cnn, or "
                    f"model.{argument}_weights, beside which it is described"
                )
            continue
        card = _trusted_card(Path(str(folder)), argument, network.get("class_path"))
        _check_class(str(network.get("class_path", card.class_path)), Path(str(folder)), argument)
        stated = network.get("init_args") or {}
        arguments[argument] = {"class_path": card.class_path, "init_args": {**card.init_args, **stated}}
        added.add(argument)
    return added


def names_weights(name: str) -> bool:
    """Return whether an argument takes the folder of an encoder's weights; ``adapt_encoder_weights`` is another."""
    return name.endswith("encoder_weights") and not name.startswith("adapt_")


def _check_class(named: str, folder: Path, argument: str) -> None:
    """Refuse a network of another class than the weights' (a class may be named by different paths)."""
    trained = read_encoder_card(folder).class_path
    if named.rpartition(".")[2] != trained.rpartition(".")[2]:
        raise UserError(
            f"model.{argument}: is {named}, but the weights of {folder} are of {trained}; to take their network, add "
            f"--model.{argument} null"
        )


def spell_out_sizes(model: Namespace) -> None:
    """Put numbers in the place of the name of a size, so that ``config.yaml`` and checkpoints say what was built.

    Args:
        model: ``class_path`` and ``init_args`` of the stage, as parsed; changed in place.
    """
    for network in vars(model.get("init_args") or Namespace()).values():
        if isinstance(network, Namespace) and "class_path" in network and "init_args" in network:
            kind = resolve_name(network.class_path)
            if isinstance(kind, SizedEncoder):
                network["init_args"] = Namespace(kind.spelled_out(network.init_args.as_dict()))


def _trusted_card(folder: Path, argument: str, named: str | None) -> EncoderCard:
    """Return the card of a folder, its class being of this package or named by the user, its numbers within bounds."""
    try:
        card = read_encoder_card(folder)
    except UserError as error:
        raise UserError(f"model.{argument}: its network is read beside its weights: {error}") from error
    try:
        check_trusted(card.class_path, [named] if named else (), folder / CARD_FILE)
    except UserError:
        raise UserError(
            f"model.{argument}: {folder / CARD_FILE} names {card.class_path}, which is not of this package and was not "
            f"imported; if you trust its code, name it: --model.{argument} {card.class_path}"
        ) from None
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
            tensors = len(file.keys())
    except (OSError, SafetensorError) as error:
        raise UserError(f"model.{argument}: {folder / WEIGHTS_FILE}: cannot be read ({error})") from error
    check_layer_counts(card.init_args, tensors, folder / CARD_FILE)
    return card
