"""The network of an encoder whose weights are given: built from ``encoder.yaml`` beside them, or compared with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ecgcmr.encoders.card_checks import check_layer_counts, check_trusted
from ecgcmr.encoders.protocol import SizedEncoder
from ecgcmr.encoders.weights import CARD_FILE, WEIGHTS_FILE, EncoderCard, read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.yaml_file import mapping_at

OF_THE_STAGE = ("pooling", "drop_path", "gradient_checkpointing")
"""Arguments of an encoder that its weights do not depend on: they belong to the stage that uses them."""
_WEIGHTS = "encoder_weights"


def add_networks(config: Mapping[str, Any], folders: Mapping[str, str], given: Collection[str]) -> set[str]:
    """Put the networks that a config leaves to the folders of their weights into it.

    A config does so with ``encoder: null``, without an ``encoder``, with ``init_args`` alone (such as another pooling),
    or with a class alone, which is trusted by being named.

    Args:
        config: Of a command, changed in place.
        folders: Argument such as ``encoder_weights`` -> folder that the command line gives.
        given: Arguments such as ``encoder`` that the command line gives whole.

    Returns:
        The arguments that were put in.

    Raises:
        UserError: There is no ``encoder.yaml``, its class is not trusted, or neither network nor weights are given.
    """
    arguments = mapping_at(config, "model", "init_args")
    weights = {name: value for name, value in arguments.items() if name.endswith(_WEIGHTS)} | dict(folders)
    added = set()
    for argument in dict.fromkeys([name.removesuffix("_weights") for name in weights] + [*arguments]):
        if not argument.endswith("encoder") or argument in given:
            continue
        value = arguments.get(argument) or {}
        network: dict[str, Any] = {"class_path": value} if isinstance(value, str) else value
        if "class_path" in network and "init_args" in network:
            continue
        folder = weights.get(f"{argument}_weights")
        if folder in (None, "null"):
            if argument in arguments and "class_path" not in network and f"{argument}_weights" in weights:
                raise UserError(
                    f"model.{argument}: names no network; give one, such as configs/encoders/ecg_cnn.yaml, or "
                    f"model.{argument}_weights, beside which it is described"
                )
            continue
        card = _trusted_card(Path(str(folder)), argument, network.get("class_path"))
        if network.get("class_path", card.class_path) == card.class_path:
            stated = network.get("init_args") or {}
            arguments[argument] = {"class_path": card.class_path, "init_args": {**card.init_args, **stated}}
            added.add(argument)
    return added


def check_networks(model: Mapping[str, Any]) -> None:
    """Compare the networks of a config with those that their weights were trained in.

    Args:
        model: ``class_path`` and ``init_args`` of the stage, defaults in place.

    Raises:
        UserError: In one line that says what differs. What the stage chooses (pooling, stochastic depth) may differ;
            what the input is, is compared where the weights are loaded.
    """
    for name, folder in model["init_args"].items():
        argument = name.removesuffix("_weights")
        network = model["init_args"].get(argument)
        if not name.endswith(_WEIGHTS) or not isinstance(folder, str) or not (Path(folder) / CARD_FILE).is_file():
            continue
        if not isinstance(network, Mapping):
            continue
        card = read_encoder_card(folder)
        odd = _differences(network, card)
        if odd:
            raise UserError(
                f"model.{argument}: is another network than its weights were trained in: {', '.join(odd)} in "
                f"{Path(folder) / CARD_FILE}; to take the weights' network, add --model.{argument} null"
            )


def _differences(network: Mapping[str, Any], card: EncoderCard) -> list[str]:
    there, here = str(network["class_path"]), card.class_path
    if there.rpartition(".")[2] != here.rpartition(".")[2]:
        return [f"{there}, but {here}"]
    own, trained = (_spelled_out(there, arguments or {}) for arguments in (network.get("init_args"), card.init_args))
    names = [name for name in trained if name in own and name not in (*OF_THE_STAGE, *card.input_spec)]
    return [f"{name} {own[name]}, but {trained[name]}" for name in names if _plain(own[name]) != _plain(trained[name])]


def _spelled_out(class_path: str, init_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with the numbers of a size in place of its name; the parser has imported the class already."""
    room, _, kind = class_path.rpartition(".")
    encoder = getattr(import_module(room), kind)
    return encoder.spelled_out(init_args) if isinstance(encoder, SizedEncoder) else dict(init_args)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


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
