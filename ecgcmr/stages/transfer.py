"""Handing encoders from stage to stage: an exported folder goes in as an explicit argument and is loaded strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ecgcmr.encoders.weights import load_encoder_weights
from ecgcmr.errors import UserError

NEW_PARTS = ("attention_pool",)
"""Parts of an encoder that an exported one may lack, because the later stage pools in another way."""


def start_from(stage: Any, encoder: nn.Module, folder: str | None, argument: str) -> None:
    """Load exported weights into ``encoder`` at the start of a fit.

    A resumed fit, and every evaluation, takes its weights from the checkpoint instead.

    Args:
        stage: The LightningModule, attached to its trainer.
        encoder: The encoder built from the config.
        folder: Folder with ``encoder.safetensors`` and ``encoder.yaml``, or ``None`` to start from random weights.
        argument: Name of the config entry, for the error message.

    Raises:
        UserError: If the folder is missing or its weights do not fit.
    """
    if folder is None or stage.trainer.state.fn != "fit" or stage.trainer.ckpt_path is not None:
        return
    if not Path(folder).is_dir():
        raise UserError(f"{argument}: there is no folder {folder}; give the run folder of a finished stage")
    load_encoder_weights(encoder, Path(folder), expected_missing=NEW_PARTS)
