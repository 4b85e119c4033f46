"""Which part of an encoder fine-tuning trains: all of it, its last blocks, updates of low rank, or norms and biases.

The smaller the part, the less few labels can spoil of what pre-training gave. What stands beside the encoder (head,
pooling over windows) is always trained. A layer of which nothing is trained runs as in evaluation: its batch norm keeps
its statistics, and nothing of it is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ecgcmr.encoders.low_rank import (
    add_low_rank,
    begin_at_plain,
    has_low_rank,
    parts_of_state,
    plain_name,
    plain_state,
)
from ecgcmr.errors import UserError

LOW_RANK_KEY = "ecgcmr_low_rank"  # in a checkpoint
_FORM = re.compile(r"(?P<kind>all|norms|last|low_rank)(?::(?P<number>-?\d+))?")
_COUNTED = ("last", "low_rank")
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class TrainedPart:
    """What of an encoder is trained.

    Attributes:
        kind: ``all``, ``last``, ``low_rank`` or ``norms``.
        number: Blocks from the top, or the rank of the updates; 0 where there is nothing to count.
    """

    kind: str = "all"
    number: int = 0

    @classmethod
    def from_text(cls, text: str) -> TrainedPart:
        """Read ``all``, ``last:K``, ``low_rank:R`` or ``norms``.

        Raises:
            UserError: It is none of them, or K or R is below 1.
        """
        found = _FORM.fullmatch(text)
        if found is None or (found["kind"] in _COUNTED) != (found["number"] is not None):
            raise UserError(
                f"model.trained is '{text}'; choose all, last:K (the last K blocks), low_rank:R (updates of rank R) or "
                "norms (norms and biases)"
            )
        number = int(found["number"] or 0)
        if found["kind"] in _COUNTED and number < 1:
            raise UserError(f"model.trained is '{text}'; the number must be at least 1")
        return cls(found["kind"], number)

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.number else self.kind

    def choose(self, encoder: Any) -> None:
        """Freeze what is not trained of an encoder; for ``low_rank`` that is left to ``begin``.

        Args:
            encoder: Meets the encoder contract.

        Raises:
            UserError: It has fewer blocks, or no parameter of this part.
        """
        if self.kind == "last":
            self._choose_blocks(encoder)
        elif self.kind == "norms":
            for parameter in encoder.parameters():
                parameter.requires_grad_(parameter.ndim <= 1)
        if self.kind != "all" and not any(parameter.requires_grad for parameter in encoder.parameters()):
            raise UserError(f"model.trained is {self}, of which {type(encoder).__name__} has nothing; take all")

    def _choose_blocks(self, encoder: Any) -> None:
        blocks = encoder.num_layers - 1
        if self.number > blocks:
            raise UserError(
                f"model.trained is {self}, but {type(encoder).__name__} has {blocks} blocks above its embedding: take "
                f"{f'last:1 to last:{blocks}, or ' if blocks else ''}all"
            )
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(encoder.layer_of(name) >= encoder.num_layers - self.number)

    def begin(self, encoder: nn.Module, seed: int) -> None:
        """Add updates of low rank, where that is the part, once the encoder has its weights.

        Args:
            encoder: Meets the encoder contract.
            seed: Of the run.

        Raises:
            UserError: It has no weight matrix.
        """
        if self.kind == "low_rank" and not has_low_rank(encoder):
            add_low_rank(encoder, self.number, seed)

    def set_modes(self, encoder: nn.Module, training: bool) -> None:
        """Put an encoder into training mode, but for layers of which nothing is trained, or all into evaluation."""
        encoder.train(training)
        if training and self.kind != "all":
            _leave_in_evaluation(encoder)


def _leave_in_evaluation(module: nn.Module) -> None:
    """Put layers of which nothing is trained into evaluation mode; those without parameters go with what holds them."""
    for layer in module.children():
        parameters = list(layer.parameters())
        trains = any(parameter.requires_grad for parameter in parameters)
        if not trains and (parameters or isinstance(layer, _NORMS)):
            layer.eval()
        else:
            _leave_in_evaluation(layer)


def trained_line(part: TrainedPart, stage: nn.Module) -> str:
    """Return how many parameters of a stage are trained, in words."""
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in stage.parameters()]
    trained = sum(number for number, trains in counts if trains)
    return f"model.trained {part}: {trained:,} of {sum(number for number, _ in counts):,} parameters are trained"


def keep_plain_weights(checkpoint: dict[str, Any]) -> None:
    """Let a checkpoint hold ordinary weights, and beside them the parts that a resumed fit goes on with."""
    parts = parts_of_state(checkpoint["state_dict"])
    if parts:
        checkpoint["state_dict"], checkpoint[LOW_RANK_KEY] = plain_state(checkpoint["state_dict"]), parts


def take_parts(checkpoint: dict[str, Any]) -> None:
    """Put the parts of a checkpoint's weights in their place, for a fit that goes on with them.

    Raises:
        UserError: It was trained without updates of low rank.
    """
    parts: Mapping[str, Tensor] | None = checkpoint.get(LOW_RANK_KEY)
    if parts is None:
        raise UserError(
            "ckpt_path: the checkpoint has no updates of low rank: give the model.trained that it had, or begin anew "
            "from its encoder (model.encoder_weights)"
        )
    whole = {plain_name(name) for name in parts}
    kept = {name: value for name, value in checkpoint["state_dict"].items() if name not in whole}
    checkpoint["state_dict"] = kept | dict(parts)


def accept_plain_weights(stage: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Let a stage with updates of low rank load ordinary weights, such as averaged ones: the updates begin at zero."""
    begin_at_plain(stage, state_dict, prefix)
