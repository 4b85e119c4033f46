"""Handing encoders from stage to stage: an exported folder goes in as an explicit argument and is loaded strictly.

Before that, an encoder is held against the data it is to see.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from ecgcmr.encoders.own_class import check_own_class
from ecgcmr.encoders.weights import load_encoder_weights
from ecgcmr.errors import UserError
from ecgcmr.stages.preparation_check import check_encoder_preparation
from ecgcmr.stages.run_contract import contract_of

NEW_PARTS = ("attention_pool",)
"""Parts of an encoder that an exported one may lack, because the later stage pools in another way."""
_OPTIONS = {"ecg": "data.samples", "cmr": "data.image_size"}


def start_from(stage: Any, encoder: nn.Module, folder: str | None, argument: str, adapt_input: bool = False) -> None:
    """Load exported weights into ``encoder`` at the start of a fit.

    A resumed fit, and every evaluation, takes its weights from the checkpoint instead.

    Args:
        stage: The LightningModule, attached to its trainer. Its ``accept_other_preparation`` lets weights in that were
            trained on recordings of another preparation; its ``loads_checkpoint`` says that a checkpoint will bring
            the weights (the trainer itself knows that only after ``setup``).
        encoder: The encoder built from the config.
        folder: Folder with ``encoder.safetensors`` and ``encoder.yaml``, or ``None`` to start from random weights.
        argument: Name of the config entry, for the error message.
        adapt_input: Take weights that were made for another length or for more leads too: positions are picked and
            interpolated (``ecgcmr.encoders.AdaptableEncoder``). Otherwise another input is an error.

    Raises:
        UserError: If the folder is missing, its weights do not fit, or they were trained on recordings of another
            preparation.
    """
    if folder is None or stage.trainer.state.fn != "fit" or stage.loads_checkpoint:
        return
    if not Path(folder).is_dir():
        found = "is a file" if Path(folder).is_file() else "does not exist"
        raise UserError(
            f"{argument}: {folder} {found}; give the run folder of a finished stage, or what 'ecgcmr import-weights' "
            "made of a published file"
        )
    card = load_encoder_weights(encoder, Path(folder), expected_missing=NEW_PARTS, adapt_input=adapt_input)
    data = stage.trainer.datamodule
    modality = "cmr" if card.input_spec["kind"] == "CMRInput" else "ecg"
    recipe = contract_of(stage, data).recipe(modality)
    accept = stage.accept_other_preparation
    check_encoder_preparation(card, Path(folder), recipe, data.index.layout, argument, accept=accept)


def check_input(stage: Any, encoder: Any, modality: str, argument: str) -> None:
    """Compare what an encoder takes with what the DataModule gives, before a batch of the wrong shape does.

    Args:
        stage: The LightningModule, attached to its trainer.
        encoder: Meets the encoder contract.
        modality: ``ecg`` or ``cmr``.
        argument: Name of the config entry, for the error message.

    Raises:
        UserError: If they differ; the message names the entries of both. Or the encoder is of somebody else's class
            and does not give what it says.
    """
    check_own_class(encoder, argument)
    given = dict(stage.trainer.datamodule.input_spec[modality])
    wanted = dataclasses.asdict(encoder.input_spec)
    if modality == "ecg" and wanted.get("lead_rows") is None and given["leads"] == wanted["leads"]:
        # Without lead_rows an encoder that knows leads apart takes them for the first ones; others do not care.
        wanted["lead_rows"] = (
            tuple(range(wanted["leads"])) if hasattr(encoder, "token_mask") else given.get("lead_rows")
        )
    odd = {name: value for name, value in given.items() if wanted.get(name) != value}
    if odd:
        takes = ", ".join(f"{name} {_plain(wanted.get(name))}" for name in odd)
        gives = ", ".join(f"{name} {_plain(value)}" for name, value in odd.items())
        option = "data.leads" if {"leads", "lead_rows"} & set(odd) else _OPTIONS[modality]
        raise UserError(f"{argument} takes {takes}, the data gives {gives}; change {argument}, {option} or the cohort")


def _plain(value: Any) -> Any:
    """A tuple as the list that a config holds."""
    return list(value) if isinstance(value, tuple) else value
