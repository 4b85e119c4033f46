"""Handing encoders from stage to stage: an exported folder goes in as an explicit argument and is loaded strictly.

Before that, an encoder is compared with the data that it is to see: its input, and leads that a recording lacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ecgcmr.encoders import Encoder, VariableLeadEncoder, require_encoder
from ecgcmr.encoders.own_class import check_own_class
from ecgcmr.encoders.protocol import MODALITIES
from ecgcmr.encoders.weights import load_encoder_weights
from ecgcmr.errors import UserError
from ecgcmr.leads import LEADS
from ecgcmr.stages.image_check import check_images
from ecgcmr.stages.preparation_check import check_as_measured, check_encoder_preparation
from ecgcmr.stages.run_contract import contract_between
from ecgcmr.stages.stage_module import StageModule

NEW_PARTS = ("attention_pool",)
"""Parts of an encoder that an exported one may lack, because the later stage pools in another way."""
_OPTIONS = {"ecg": "data.samples", "cmr": "data.image_size", "measurements": "data.measurements"}


def start_from(
    stage: StageModule, encoder: nn.Module, folder: str | None, argument: str, adapt_input: bool = False
) -> None:
    """Load exported weights into ``encoder`` at the start of a fit.

    A resumed fit, and every evaluation, takes its weights from the checkpoint instead.

    Args:
        stage: Attached to its trainer. Its ``accept_other_preparation`` lets weights in that were
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
    data = stage.data
    modality = MODALITIES.get(card.input_spec["kind"], "ecg")
    recipe = contract_between(stage, data).recipe(modality)
    accept = stage.accept_other_preparation
    check_encoder_preparation(card, Path(folder), recipe, data.index.layout, argument, accept=accept)


def check_input(stage: StageModule, encoder: Encoder, modality: str, argument: str) -> None:
    """Compare what an encoder takes with what the DataModule gives, before a batch of the wrong shape does.

    Args:
        stage: Attached to its trainer.
        encoder: Meets the encoder contract.
        modality: ``ecg`` or ``cmr``.
        argument: Name of the config entry, for the error message.

    Raises:
        UserError: If they differ; the message names the entries of both, or the command that mends it. Or the encoder
            is of somebody else's class and does not give what it says.
    """
    check_own_class(encoder, argument)
    check_pixels(stage, encoder, argument)
    check_shape(encoder, stage.data.input_spec[modality], modality, argument, "the data gives")
    check_measured(stage, encoder, argument)


def check_pixels(stage: StageModule, encoder: Encoder, argument: str) -> None:
    """Refuse images of another view, size of a pixel or distance of slices than an encoder asks for.

    Raises:
        UserError: They are others; the message has the command that mends it.
    """
    specification = dataclasses.asdict(encoder.input_spec)
    check_images(specification, stage.data.index.layout, argument, accept=stage.accept_other_preparation)


def check_measured(stage: StageModule, encoder: Encoder, argument: str) -> None:
    """Refuse a cohort of cleaned or scaled ECGs for an encoder that prepares what was measured itself.

    Raises:
        UserError: It is such a cohort; the message has the command that mends it.
    """
    specification = dataclasses.asdict(encoder.input_spec)
    check_as_measured(specification, stage.data.index.layout, argument, accept=stage.accept_other_preparation)


def check_shape(encoder: Encoder, given: Mapping[str, Any], modality: str, argument: str, giver: str) -> None:
    """Compare what an encoder takes with the ``input_spec`` of what it is given.

    Raises:
        UserError: They differ; the message names the entries of both, and ``giver``.
    """
    wanted = dataclasses.asdict(encoder.input_spec)
    if wanted.get("lead_rows") is not None and given.get("leads") == len(LEADS):
        given = {"lead_rows": tuple(range(len(LEADS))), **given}  # all twelve, in the standard order
    if modality == "ecg" and wanted.get("lead_rows") is None and given["leads"] == wanted["leads"]:
        # Without lead_rows an encoder that knows leads apart takes them for the first ones; others do not care.
        knows = isinstance(encoder, VariableLeadEncoder)
        wanted["lead_rows"] = tuple(range(wanted["leads"])) if knows else given.get("lead_rows")
    odd = {name: value for name, value in given.items() if wanted.get(name) != value}
    if odd:
        takes = ", ".join(f"{name} {_plain(wanted.get(name))}" for name in odd)
        gives = ", ".join(f"{name} {_plain(value)}" for name, value in odd.items())
        option = "data.leads" if {"leads", "lead_rows"} & set(odd) else _OPTIONS[modality]
        mended = _mended(odd, wanted, argument)
        raise UserError(f"{argument} takes {takes}, {giver} {gives}; change {argument}, {option} or the cohort{mended}")


def _mended(odd: Mapping[str, Any], wanted: Mapping[str, Any], argument: str) -> str:
    """The one setting that makes recordings fit an encoder, where one does; empty otherwise."""
    if "sampling_rate" in odd and wanted.get("preparation"):  # it makes its own rate of any
        return f" (--{argument}.init_args.sampling_rate {odd['sampling_rate']:g})"
    if list(odd) == ["frames"] and wanted.get("view"):  # it looks at each moment by itself
        return f" (--{argument}.init_args.frames {odd['frames']})"
    if list(odd) == ["samples"]:
        return f" (--data.samples {wanted['samples']})"
    if list(odd) == ["lead_rows"] and wanted["lead_rows"] is not None:
        return f" (--data.leads [{','.join(LEADS[row] for row in wanted['lead_rows'])}])"
    return ""


def check_missing_leads(stage: StageModule, encoder: Encoder, argument: str) -> None:
    """Refuse an encoder that cannot leave leads out, where the DataModule asks for it.

    Args:
        stage: Attached to its trainer.
        encoder: Meets the encoder contract.
        argument: Name of the config entry, for the error message.

    Raises:
        UserError: The encoder takes no mask, or its patches span several leads.
    """
    if not stage.data.leave_out_leads:
        return
    try:
        require_lead_masks(encoder, stage.data.input_spec["ecg"]["leads"])
    except UserError as error:
        raise UserError(f"{argument}: data.leave_out_leads is set, but {error}") from error


def require_lead_masks(encoder: Encoder, leads: int) -> None:
    """Raise UserError if an encoder cannot leave leads out: it takes no mask, or its patches span several leads."""
    require_encoder(encoder, VariableLeadEncoder).token_mask(torch.ones(1, leads, dtype=torch.bool))


def _plain(value: Any) -> Any:
    """A tuple as the list that a config holds."""
    return list(value) if isinstance(value, tuple) else value
