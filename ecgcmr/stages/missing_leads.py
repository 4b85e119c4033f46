"""Leads that a recording lacks, on their way from the DataModule to an encoder that leaves them out.

A batch then holds ``lead_mask`` (B, leads) bool, True = recorded; see ``leave_out_leads`` of the DataModules. A stage
that hands the mask on says so by the class attribute ``takes_lead_mask``; with others the DataModule refuses.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ecgcmr.encoders import require_variable_leads
from ecgcmr.errors import UserError


def features_of(encoder: Any, batch: Any) -> Tensor:
    """Return the pooled features (B, D) of a batch's ECGs, of the recorded leads where the batch tells them."""
    if "lead_mask" in batch:
        return encoder(batch["ecg"], batch["lead_mask"])
    return encoder(batch["ecg"])


def check_missing_leads(stage: Any, encoder: Any, argument: str) -> None:
    """Refuse an encoder that cannot leave leads out, where the DataModule asks for it.

    Args:
        stage: The LightningModule, attached to its trainer.
        encoder: Meets the encoder contract.
        argument: Name of the config entry, for the error message.

    Raises:
        UserError: The encoder takes no mask, or its patches span several leads.
    """
    if not getattr(stage.trainer.datamodule, "leave_out_leads", None):
        return
    try:
        leads = encoder.input_spec.leads
        require_variable_leads(encoder).token_mask(torch.ones(1, leads, dtype=torch.bool))
    except UserError as error:
        raise UserError(f"{argument}: data.leave_out_leads is set, but {error}") from error
