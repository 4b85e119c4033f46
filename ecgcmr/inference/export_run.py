"""The run folder of a stage as a model: a pre-trained encoder gives embeddings, a downstream stage predictions too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import ecgcmr
from ecgcmr.encoders import load_encoder, read_encoder_card
from ecgcmr.encoders.weights import CARD_FILE, EncoderCard
from ecgcmr.errors import UserError
from ecgcmr.inference.folder_tensors import (
    COVARIATE_DEVIATION,
    COVARIATE_MEAN,
    ENCODER,
    HEAD_BIAS,
    HEAD_WEIGHT,
    READOUT,
    Tensors,
)
from ecgcmr.inference.model_entries import EncoderEntry, ModelDescription, Readout, TargetEntry, TrainingEntry
from ecgcmr.inference.recipe_entry import preparation_entry
from ecgcmr.inference.target_text import plausible_range, title_and_group
from ecgcmr.shards.recipe import RECIPE_VERSION
from ecgcmr.torch_file import load_torch_file
from ecgcmr.yaml_file import mapping_at, read_yaml

BEST = "best.ckpt"
CONFIG = "config.yaml"
WINDOW_POOLING = "window_pooling."
"""What the weights of attention over windows are named by in a checkpoint."""
DOWNSTREAM = {"regression": "number", "classification": "yes/no", "time to event": "event"}
"""Task of a stage -> kind of its targets."""


@dataclass(frozen=True)
class Exported:
    """A model before it is written.

    Attributes:
        description: Of it; the checksum comes when it is written.
        tensors: Its arrays.
        notes: What a user should know, a line each.
    """

    description: ModelDescription
    tensors: Tensors
    notes: tuple[str, ...] = ()


def export_encoder_folder(
    folder: Path, trusted: Collection[str] = (), cohort: Mapping[str, Any] | None = None
) -> tuple[Exported, EncoderCard]:
    """Return the encoder of a folder as a model without targets, and its card.

    Args:
        folder: Holds ``encoder.yaml`` and ``encoder.safetensors``.
        trusted: Modules or classes beside this package's encoders that it may be of.
        cohort: Recipe of its cohort, which completes a card of an earlier version.

    Raises:
        UserError: It is no encoder of ECGs, or does not say how its recordings were prepared.
    """
    card = read_encoder_card(folder)
    if card.input_spec.get("kind") != "ECGInput":
        what = "measurements" if card.input_spec.get("kind") == "MeasurementInput" else "images"
        raise UserError(f"{folder / CARD_FILE}: is an encoder of {what}; a model folder is for ECGs")
    contract = card.training or {}
    if card.input_spec.get("preparation") is not None:  # it is given what was measured, whatever prepared its training
        cohort = {"version": RECIPE_VERSION, **(cohort or {})}
    prepared = preparation_entry(card.preparation, str(folder / CARD_FILE), cohort, contract.get("leave_out_leads", ()))
    description = ModelDescription(
        name=folder.resolve().name,
        code_version=ecgcmr.__version__,
        sha256="0" * 64,
        encoder=EncoderEntry(card.class_path, card.init_args, card.input_spec),
        preparation=prepared,
        windows=int(contract.get("evaluation_windows", 1)),
        training=TrainingEntry(fingerprint=card.fingerprint, parent=card.parent),
    )
    encoder = load_encoder(folder, trusted)
    return Exported(description, _arrays(ENCODER, encoder.state_dict())), card


def export_run(folder: Path, trusted: Collection[str] = (), cohort: Mapping[str, Any] | None = None) -> Exported:
    """Return the run folder of a finished stage as a model; arguments and errors as of ``export_encoder_folder``."""
    exported, card = export_encoder_folder(folder, trusted, cohort)
    contract = card.training or {}
    if contract.get("task") not in DOWNSTREAM:
        return exported
    if "ecg" not in contract.get("inputs", ()):
        raise UserError(f"{folder}: its stage sees no ECG; a model folder is for ECGs")
    state = _state(folder / BEST)
    if any(name.startswith(WINDOW_POOLING) for name in state):
        raise UserError(
            f"{folder}: pools its windows by attention, which a model folder cannot hold: train with "
            "model.window_pooling: mean"
        )
    _require_same_encoder(state, exported.tensors, folder)
    return _with_head(exported, state, contract, folder)


def stage_settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of a run's stage and of its DataModule, as ``config.yaml`` has them."""
    content = read_yaml(folder / CONFIG, what="settings of a run", root=dict)
    return mapping_at(content, "model", "init_args"), mapping_at(content, "data", "init_args")


def _with_head(exported: Exported, state: Mapping[str, Tensor], contract: Mapping[str, Any], folder: Path) -> Exported:
    kind = DOWNSTREAM[contract["task"]]
    columns = list(contract["targets"])
    weight, bias = (state[f"head.{name}"].double().numpy() for name in ("weight", "bias"))
    if len(weight) != len(columns):
        raise UserError(
            f"{folder}: its head has {len(weight)} outputs for {len(columns)} targets, as hazards by interval have; "
            "such a head cannot be exported: train with ecgcmr.objectives.CoxPartialLikelihood"
        )
    mean, deviation = (state[name].double().numpy() for name in ("label_mean", "label_std"))
    mean = np.where(deviation > 0, mean, np.nan)  # deviation 0, or a mean that is NaN: no training row had the target
    learnt = mean > 0 if kind == "event" else np.isfinite(mean)
    if not learnt.any():
        raise UserError(f"{folder}: none of its targets had labels to learn from; there is nothing to predict")
    if kind == "number":
        weight, bias = weight * deviation[:, None], bias * deviation + mean
    names = [column["name"] for column in columns]
    notes = [
        f"{name}: no label to learn from, left out" for name, there in zip(names, learnt, strict=True) if not there
    ]
    targets = [_target(column, kind) for column, there in zip(columns, learnt, strict=True) if there]
    tensors = {**exported.tensors, HEAD_WEIGHT: weight[learnt], HEAD_BIAS: bias[learnt]}
    readout = None
    settings, _ = stage_settings(folder)
    if any(name.startswith(READOUT) for name in state):
        readout = Readout("attention", int(settings["attention_heads"]))
        tensors |= {name: value.numpy() for name, value in state.items() if name.startswith(READOUT)}
    covariates = [column["name"] for column in contract["covariates"]]
    if covariates:
        tensors |= {name: state[name].numpy() for name in (COVARIATE_MEAN, COVARIATE_DEVIATION)}
    described = replace(exported.description, targets=targets, readout=readout, covariates=covariates)
    return Exported(described, tensors, tuple(notes))


def _target(column: Mapping[str, Any], kind: Any) -> TargetEntry:
    title, group = title_and_group(column["name"])
    plausible = plausible_range(column["name"], column["unit"]) if kind == "number" else None
    return TargetEntry(column["name"], title, kind, column["unit"], group, "network", plausible)


def _state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; the head of a downstream stage is in the checkpoint of its best epoch")
    loaded = load_torch_file(path, kind="checkpoint")
    state = loaded.get("state_dict") if isinstance(loaded, Mapping) else None
    needed = ("head.weight", "head.bias", "label_mean", "label_std")
    if not isinstance(state, Mapping) or not all(isinstance(state.get(name), Tensor) for name in needed):
        raise UserError(f"{path}: is no checkpoint of a downstream stage: it lacks one of {', '.join(needed)}")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _require_same_encoder(state: Mapping[str, Tensor], tensors: Tensors, folder: Path) -> None:
    """Refuse a folder whose checkpoint and encoder are of two trainings: the head would see foreign features."""
    for name, value in tensors.items():
        other = state.get(name)
        if other is None or other.shape != value.shape or not np.array_equal(other.numpy(), value):
            raise UserError(
                f"{folder}: {BEST} and encoder.safetensors hold different encoders ({name}); fit the stage to its end"
            )


def _arrays(prefix: str, state: Mapping[str, Tensor]) -> dict[str, NDArray]:
    return {f"{prefix}{name}": value.detach().cpu().numpy() for name, value in state.items()}
