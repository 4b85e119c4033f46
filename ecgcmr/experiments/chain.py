"""What an experiment changes in the configs of its stages: the cohort, encoders, weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.plan import Plan
from ecgcmr.yaml_file import mapping_at

OF_THE_TASK = ("pooling", "drop_path", "dropout", "gradient_checkpointing")
"""Arguments of an encoder that its weights do not depend on: a downstream config keeps them."""


def stage_overrides(plan: Plan, name: str) -> dict[str, Any]:
    """Return the settings of a pre-training stage that hold over its config: its encoder or the chain's, then ``set``.

    An experiment's ``encoder`` takes the place of the ECG encoders of all stages that name none; those of images stay.

    Raises:
        UserError: A stage of images names an ECG encoder.
    """
    stage = plan.stages[name]
    overrides: dict[str, Any] = {"seed_everything": plan.seed}
    encoder = stage.encoder or plan.encoder
    if encoder is not None:
        arguments = mapping_at(read_config(plan.file(stage.config)), "model", "init_args")
        if "ecg_encoder" in arguments:
            overrides["model.ecg_encoder"] = encoder
        elif "cmr" not in (arguments.get("modality"), stage.set.get("model.modality")):
            overrides["model.encoder"] = encoder
        elif stage.encoder:
            raise UserError(
                "encoder: is of ECGs, and this stage trains an encoder of images; write it as model.encoder under set"
            )
    return {**overrides, **stage.set}


def encoder_for_task(config: Path, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Return an encoder as a downstream config is to take it, so that weights of it fit.

    Pooling, dropout and stochastic depth belong to the downstream stage and stay as its config has them.

    Args:
        config: The downstream config.
        encoder: ``class_path`` and ``init_args``, such as those of a run folder's ``encoder.yaml``.

    Raises:
        UserError: The config names no stage.
    """
    model = mapping_at(read_config(config), "model")
    if not model:
        raise UserError(f"{config.name}: has no model with class_path and init_args; write the downstream stage there")
    before, given = mapping_at(model, "init_args", "encoder"), dict(encoder.get("init_args") or {})
    if before.get("class_path") == encoder["class_path"]:
        known = before.get("init_args") or {}
        given |= {name: known[name] for name in OF_THE_TASK if name in known}
    return {"class_path": encoder["class_path"], "init_args": given}
