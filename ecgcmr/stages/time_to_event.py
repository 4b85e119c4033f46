"""Incident disease: when it comes, where many are still free of it when follow-up ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from ecgcmr.errors import UserError
from ecgcmr.objectives import CoxPartialLikelihood, require_survival_objective
from ecgcmr.stages.diagnosis_classification import check_yes_or_no
from ecgcmr.stages.downstream import Downstream
from ecgcmr.stages.metrics import ConcordanceScores
from ecgcmr.stages.protocol import FollowUpData, StageData, require_data


class TimeToEvent(Downstream):
    """Predict the risk of diseases that come after imaging, several at once, from an ECG or from CMR.

    ``data.diseases`` names them; their ``{disease}_incident`` and ``{disease}_years`` are the targets. Who had the
    disease before, or whose follow-up is unknown, counts in nothing.

    Args:
        encoder: ECG or CMR encoder.
        objective: ``ecgcmr.objectives.CoxPartialLikelihood`` (default; predictions are log risks) or
            ``ecgcmr.objectives.DiscreteTimeHazards`` (predictions are risks by a horizon).
        options: Those of ``Downstream``.
    """

    task = "time to event"
    monitor = "val/concordance"
    mode = "max"
    objective: Any

    score_kind = ConcordanceScores

    def __init__(self, encoder: nn.Module, objective: nn.Module | None = None, **options: Any) -> None:
        super().__init__(encoder, **options)
        self.objective = require_survival_objective(objective or CoxPartialLikelihood())
        self.probe_kind = "time_to_event" if isinstance(self.objective, CoxPartialLikelihood) else None
        self.register_load_state_dict_pre_hook(_take_sizes_of_the_objective)

    def setup(self, stage: str) -> None:
        """As in every downstream stage; without the head's bias where the objective cannot see it."""
        super().setup(stage)
        if self.head is not None and self.objective.ignores_constants:
            self.head.bias.requires_grad_(False)  # else Adam would make whole steps of rounding errors

    @property
    def _outputs(self) -> int:
        return self.objective.outputs

    def _check_targets(self, data: StageData) -> None:
        if not data.diseases:
            raise UserError("TimeToEvent needs data.diseases, such as [cad, af, dm], in place of data.labels")
        if self.takes_statistics_from_checkpoint:
            return  # so does what the objective took from the training rows
        followed: FollowUpData = require_data(data, FollowUpData, "a time to event")
        years, event = followed.training_follow_up()
        check_yes_or_no(data.diseases, followed.label_values(), "data.diseases")
        without = [name for name, column in zip(data.diseases, event.T, strict=True) if not (column == 1).any()]
        if len(without) == len(data.diseases):
            raise UserError(f"data.diseases: no training row has an event of {', '.join(without)}; take others")
        if without:
            rank_zero_info(f"note: no training row has an event of {', '.join(without)}; not predicted")
        self.objective.prepare(years, event)

    def _targets(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.stack([batch["labels"], batch["years"]], dim=2)

    def _loss(self, output: Tensor, targets: Tensor) -> Tensor:
        event, years = targets.unbind(2)
        return self.objective(output, years, event)

    def _is_defined(self, targets: Tensor) -> bool:
        return self.objective.defined(targets[:, :, 0])

    def _to_prediction(self, output: Tensor) -> Tensor:
        # Without an event in training nothing was learned of a disease.
        return torch.where(self.label_mean > 0, self.objective.risk(output).float(), torch.nan)


def _take_sizes_of_the_objective(stage: TimeToEvent, state_dict: Mapping[str, Tensor], *_: Any) -> None:
    """Give the objective's buffers the sizes that a checkpoint has for them, such as intervals of each disease."""
    for name, buffer in stage.objective.named_buffers():
        stored = state_dict.get(f"objective.{name}")
        if stored is not None and stored.shape != buffer.shape:
            room, _, attribute = name.rpartition(".")
            setattr(stage.objective.get_submodule(room), attribute, buffer.new_empty(stored.shape))
