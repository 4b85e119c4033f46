"""What stages share that may train a part of an encoder alone: its modes, and ordinary weights in what they leave."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import nn

from ecgcmr.encoders.low_rank import has_low_rank, merge_low_rank
from ecgcmr.stages.stage_module import StageModule
from ecgcmr.stages.trained_part import (
    TrainedPart,
    accept_plain_weights,
    keep_plain_weights,
    take_parts,
    trained_line,
)


class PartlyTrained(StageModule):
    """A stage with an encoder of which it may train a part.

    Subclasses call ``_train_part`` at the end of their construction and ``_begin_part`` once the encoder has its
    weights.

    Attributes:
        trained_part: What of the encoder is trained.
    """

    trained_part: TrainedPart

    @property
    @abstractmethod
    def partly_trained(self) -> nn.Module:
        """The encoder."""

    @property
    def _is_frozen(self) -> bool:
        """Whether nothing of the encoder is trained, whatever its part."""
        return False

    def _train_part(self, part: TrainedPart) -> None:
        """Freeze what is not trained."""
        self.trained_part = part
        part.choose(self.partly_trained)
        self.register_load_state_dict_pre_hook(accept_plain_weights)

    def _begin_part(self) -> None:
        """Make the encoder ready for a fit: updates of low rank begin, and a line says how much is trained."""
        if self.trainer.state.fn == "fit":
            self.trained_part.begin(self.partly_trained, torch.initial_seed())
            if self.trained_part.kind != "all":
                rank_zero_info(trained_line(self.trained_part, self))

    def train(self, mode: bool = True) -> Self:
        """Switch to training; what is frozen of the encoder stays in evaluation mode."""
        super().train(mode)
        self.trained_part.set_modes(self.partly_trained, training=mode and not self._is_frozen)
        return self

    def on_train_start(self) -> None:
        """Put what is frozen into evaluation mode; Lightning keeps modes as they are and never calls ``train``."""
        self.train(self.training)

    def on_train_end(self) -> None:
        """Leave ordinary weights, whatever they were trained by."""
        merge_low_rank(self.partly_trained)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Hold ordinary weights, and what a resumed fit goes on with beside them."""
        keep_plain_weights(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with what was trained, where that is not the weights themselves."""
        if has_low_rank(self.partly_trained) and self.trainer.state.fn == "fit":
            take_parts(checkpoint)
