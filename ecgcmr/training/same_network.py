"""Whether weights meet the network they were trained in: names and shapes do not say with which arguments.

Attention heads, say, leave no trace in a weight's shape: weights of 6 heads load strictly into a network of 8 and
compute something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_info

from ecgcmr.encoders.weights import CARD_FILE, read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.stages.preparation_check import warn
from ecgcmr.training.run_settings import setting_differences

_PACKAGE = "ecgcmr."
_OF_TRAINING = ("drop_path", "dropout", "gradient_checkpointing")
"""Arguments that change how a network trains, not what it computes."""
_ARGUMENTS_OF_TRAINING = (
    *("class_path", "optimiser", "protocol", "trained", "window_pooling"),
    *("monitor", "mode", "probe", "balance", "augmentation"),
)
"""Arguments of a stage that evaluation does not read, or that show in the names of its weights."""
_OF_THE_INPUT = ("leads", "lead_rows", "samples", "sampling_rate", "frames", "height", "width")
"""Arguments that another check compares, or that weights can be adapted to; a network's own width shows in shapes."""
_MAY_DIFFER = ("pooling", "positions")
"""Arguments by which a later stage may take weights otherwise: another final norm is a mismatch of names, and positions
come with the weights."""


def check_network_of_checkpoint(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Compare the networks of a checkpoint that is judged with those of the config.

    Args:
        before: Settings in the checkpoint (``settings_that_count``).
        now: Those of the config.
        path: Of the checkpoint.

    Raises:
        UserError: An argument of a network of this package differs. One of somebody else's class is a warning.
    """
    names = [name for name in before if name in now and name.startswith("model.") and _differ(before[name], now[name])]
    networks = [name for name in names if _shapes_a_network(name)]
    for foreign in (False, True):
        shown = _shown(before, now, [name for name in networks if _is_foreign(name, before) is foreign])
        if not shown:
            continue
        text = f"ckpt_path: {path} was trained with another network ({shown}): its weights compute something else in it"
        if not foreign:
            raise UserError(f"{text}; give the config that it was trained with (config.yaml in its run folder)")
        warn(text)
    shown = _shown(before, now, [name for name in names if name not in networks and not _is_of_training(name)])
    if shown:
        rank_zero_info(f"note: judged with other settings than it was trained with: {shown}")


def check_network_of_weights(model: Mapping[str, Any]) -> None:
    """Compare the encoders of a config with those whose weights they are to begin with.

    Args:
        model: The stage's ``class_path`` and ``init_args``, defaults in place.

    Raises:
        UserError: An argument of an encoder of this package differs. One of somebody else's class is a warning.
    """
    arguments = model.get("init_args") or {}
    for part, encoder in arguments.items():
        folder = arguments.get(f"{part}_weights")
        if not (isinstance(encoder, Mapping) and isinstance(folder, str) and (Path(folder) / CARD_FILE).is_file()):
            continue
        card, given = read_encoder_card(folder), encoder.get("init_args") or {}
        if card.class_path.rpartition(".")[2] != str(encoder.get("class_path")).rpartition(".")[2]:
            continue  # names and shapes of the weights decide
        free = (*_OF_TRAINING, *_OF_THE_INPUT, *_MAY_DIFFER)
        names = [name for name in card.init_args if name in given and name not in free]
        before, now = ({f"{part}.{name}": side[name] for name in names} for side in (card.init_args, given))
        shown = _shown(before, now, [name for name in before if _differ(before[name], now[name])])
        if not shown:
            continue
        text = (
            f"model.{part}_weights: {Path(folder) / CARD_FILE} is of another network ({shown}): its weights compute "
            "something else in it"
        )
        if card.class_path.startswith(_PACKAGE):
            raise UserError(f"{text}; --model.{part} null builds it as the weights were trained")
        warn(text)


def _differ(before: Any, now: Any) -> bool:
    """Whether two plain values differ; a tuple is the list that a file holds, a class is known by its last name."""
    if isinstance(before, str) and isinstance(now, str):
        return before.rpartition(".")[2] != now.rpartition(".")[2]
    before, now = (list(value) if isinstance(value, tuple) else value for value in (before, now))
    return bool(before != now)


def _shown(before: Mapping[str, Any], now: Mapping[str, Any], names: list[str]) -> str:
    return ", ".join(setting_differences({name: before[name] for name in names}, {name: now[name] for name in names}))


def _shapes_a_network(name: str) -> bool:
    """Whether a setting, by its dotted name, is an argument of an encoder, or a number of attention heads."""
    parts = name.split(".")
    is_encoder = len(parts) > 2 and parts[1].endswith("encoder")
    return (is_encoder and parts[-1] not in _OF_TRAINING) or parts[-1].endswith("_heads")


def _is_of_training(name: str) -> bool:
    part, last = name.split(".")[1], name.rpartition(".")[2]
    return last in _OF_TRAINING or part.endswith("_weights") or part in _ARGUMENTS_OF_TRAINING


def _is_foreign(name: str, settings: Mapping[str, Any]) -> bool:
    part = ".".join(name.split(".")[:2])
    return not str(settings.get(f"{part}.class_path") or _PACKAGE).startswith(_PACKAGE)
