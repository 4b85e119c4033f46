"""What alignments share, whatever an ECG is aligned with: a tower for each modality, ECG first, and one contrast.

The objective sees the batch of all ranks, with exact gradients.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from torch import Tensor, nn

from ecgcmr.encoders import View
from ecgcmr.errors import UserError
from ecgcmr.stages.contrast import Contrast
from ecgcmr.stages.optimisation import layer_decayed_groups, optimisers_for, plain_groups
from ecgcmr.stages.partly_trained import PartlyTrained
from ecgcmr.stages.stage_module import predicted
from ecgcmr.stages.towers import Tower
from ecgcmr.stages.trained_part import TrainedPart
from ecgcmr.stages.transfer import check_input, check_missing_leads, start_from
from ecgcmr.stages.whole_split import retrieval_scores

_PLACES = "abc"
"""Names of the projections, in the order of the sides, as objectives are given them."""


class Side(NamedTuple):
    """One of the modalities that are aligned.

    Attributes:
        modality: Its name in a batch.
        name: Of its arguments: ``NAME_encoder`` and ``NAME_encoder_weights``.
        encoder: Meets the encoder contract.
        projection: From its features.
        weights: Run folder whose encoder to start from.
    """

    modality: str
    name: str
    encoder: Any
    projection: nn.Module
    weights: str | None


class ModalityAlignment(Contrast, PartlyTrained):
    """Draws one subject's modalities together and different subjects' apart.

    Subclasses make ``ecg_encoder``, the others, their projections and the contrast, and give ``sides``.

    Args:
        trained: What is trained of the ECG encoder: ``all``; ``last:K``, the last K blocks and what stands above them;
            ``low_rank:R``, updates of rank R of its weight matrices; ``norms``, norms and biases.
        options: Those of ``Contrast``.
    """

    task = "alignment"
    warmup_epochs = 30.0
    ecg_encoder: Any  # meets the encoder contract, checked at construction
    ecg_projection: nn.Module

    def __init__(self, trained: str = "all", **options: Any) -> None:
        super().__init__(**options)
        self._part = TrainedPart.from_text(trained)

    @property
    def partly_trained(self) -> nn.Module:
        """The ECG encoder."""
        return self.ecg_encoder

    def _contrast(self, objective: nn.Module, offered: Collection[str]) -> None:
        """As every contrast; of the ECG encoder a part may be trained alone."""
        super()._contrast(objective, offered)
        if self.target is not None and self._part.kind == "low_rank":
            raise UserError(
                f"model.trained is {self._part}, but {type(objective).__name__} has a copy that follows the encoder, "
                "which has no such updates; take last:K, norms or all"
            )
        self._train_part(self._part)

    @property
    @abstractmethod
    def sides(self) -> list[Side]:
        """The modalities, ECG first; they share their weights with this stage."""

    @property
    def towers(self) -> list[Tower]:
        """Encoder and projection of each modality."""
        return [Tower(side.encoder, side.projection) for side in self.sides]

    def setup(self, stage: str) -> None:
        """Compare the encoders with the data, and take over exported weights at the start of a fit."""
        given = self.data.input_spec
        for side in self.sides:
            if side.modality not in given:
                raise UserError(
                    f"{type(self).__name__} aligns ECGs with {side.modality}, which {type(self.data).__name__} does "
                    "not give; change data.class_path, or set data.images"
                )
            check_input(self, side.encoder, side.modality, f"model.{side.name}_encoder")
        check_missing_leads(self, self.ecg_encoder, "model.ecg_encoder")
        self._make_ready()
        adapt = self.adapt_encoder_weights
        for side in self.sides:
            start_from(self, side.encoder, side.weights, f"model.{side.name}_encoder_weights", adapt_input=adapt)
        super().setup(stage)
        self._begin_part()

    def _make_ready(self) -> None:
        """Do to encoders, which fit the data, what comes before weights."""

    def forward(self, ecg: Tensor) -> Tensor:
        """Return pooled ECG features (B, D) before the projection."""
        return self.ecg_encoder(ecg)

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        return View.from_batch(batch, "ecg").features(self.ecg_encoder)

    def _embed(self, batch: dict[str, Tensor], *, training: bool) -> dict[str, Tensor]:
        """Return ECG features, the projections ``a``, ``b`` and perhaps ``c``, and what the objective needs further."""
        views = [View.from_batch(batch, side.modality) for side in self.sides]
        features = [view.features(side.encoder) for view, side in zip(views, self.sides, strict=True)]
        embedded = {"features": features[0]} | self._further.of(batch) | self._targets(views)
        for place, side, feature in zip(_PLACES, self.sides, features, strict=False):
            embedded[place] = side.projection(feature)
        return embedded

    def _targets(self, views: Sequence[View]) -> dict[str, Tensor]:
        """Return the projections by the momentum copy, of an objective that has one."""
        if self.target is None:
            return {}
        return {
            f"target_{place}": self.target(i, view) for i, (place, view) in enumerate(zip(_PLACES, views, strict=False))
        }

    def _scores(self, collected: Mapping[str, Tensor], split: str) -> dict[str, Tensor]:
        """Retrieval of each modality by each other one."""
        names = {side.modality: collected[place] for place, side in zip(_PLACES, self.sides, strict=False)}
        scores: dict[str, Tensor] = {}
        for first, second in permutations(names, 2):
            scores |= retrieval_scores(names[first], names[second], f"{split}/{first}_to_{second}")
        return scores

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return ECG projections of a batch, for retrieval."""
        return predicted(batch, self.ecg_projection(self._features(batch)))

    def configure_optimizers(self) -> Any:
        """AdamW over the encoders, their projections and the objective's own parameters."""
        decay = self.settings.weight_decay
        groups = layer_decayed_groups(
            self.ecg_encoder, layer_decay=self.settings.layer_decay, weight_decay=decay, prefix="ecg_"
        )
        for side in self.sides[1:]:
            groups += plain_groups([side.encoder], weight_decay=decay, prefix=f"{side.name}_")
        heads = [side.projection for side in self.sides]
        groups += plain_groups([*heads, self.objective], weight_decay=decay)
        return optimisers_for(self, groups, self.settings)
