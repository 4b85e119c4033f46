"""Two small towers with each objective, for comparing several ranks with one; imported by the ranks' processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ecgcmr.objectives import (
    BarlowTwinsLoss,
    BYOLLoss,
    CLIPLoss,
    CLOCSLoss,
    CoxPartialLikelihood,
    DiscreteTimeHazards,
    GlobalBatchNorm,
    MomentumTarget,
    NTXentLoss,
    PhenotypeGuidedCLIPLoss,
    PTACLLoss,
    SigLIPLoss,
    SimilarityGuidedCLIPLoss,
    ThreeWayContrast,
    mean_over_known,
)
from ecgcmr.objectives.view_agreement import CosineAgreement

FRAMES, TOKENS, WIDTH = 4, 9, 5


class OfLabels(nn.Module):
    """A downstream loss of one output, the sum of the towers', against labels of which some are missing."""

    def __init__(self, objective: nn.Module | None = None) -> None:
        super().__init__()
        self.objective = objective
        if isinstance(objective, DiscreteTimeHazards):
            objective.prepare(torch.tensor([[1.0], [3.0], [4.0]]), torch.ones(3, 1))

    def forward(self, a: Tensor, b: Tensor, event: Tensor, years: Tensor) -> Tensor:
        output = a + b
        if self.objective is None:  # as in regression
            known = torch.isfinite(years)
            return mean_over_known((output - torch.nan_to_num(years)).square(), known)
        labels = WIDTH // self.objective.outputs
        return self.objective(output, years[:, :labels], event[:, :labels])


OBJECTIVES: dict[str, Callable[[], nn.Module]] = {
    "clip": lambda: CLIPLoss(0.3, 0.75),
    "clip-learned-temperature": lambda: CLIPLoss(0.3, 0.25, learnable_temperature=True),
    "siglip": lambda: SigLIPLoss(0.3, -1.0),
    "ntxent": lambda: NTXentLoss(0.3, learnable_temperature=True),
    "guided-positives": lambda: SimilarityGuidedCLIPLoss(0.3, 0.5, "positives"),
    "guided-exclude": lambda: SimilarityGuidedCLIPLoss(0.3, 0.5, "exclude", image_to_ecg_weight=0.3),
    "phenotypes-soft": lambda: PhenotypeGuidedCLIPLoss(0.3, "soft", learnable_temperature=True),
    "phenotypes-cosine": lambda: PhenotypeGuidedCLIPLoss(0.3, "positives", 0.2, similarity="cosine"),
    "three-way": lambda: ThreeWayContrast(CLIPLoss(0.3, learnable_temperature=True), 1.0, 0.5, 2.0),
    "phenotypes-three-way": lambda: ThreeWayContrast(PhenotypeGuidedCLIPLoss(0.3, "soft"), 0.0, 1.0, 1.0),
    "barlow-twins": lambda: BarlowTwinsLoss(0.1),
    "byol": lambda: BYOLLoss(WIDTH, 6, 0.9),
    "byol-two-predictors": lambda: BYOLLoss(WIDTH, 6, 0.9, shared_predictor=False),
    "clocs": lambda: CLOCSLoss(0.3, learnable_temperature=True),
    "ptacl": lambda: PTACLLoss(0.3, 0.6, True, local_weight=0.7, local_temperature=0.4),
    "labels-known": lambda: OfLabels(),
    "labels-cox": lambda: OfLabels(CoxPartialLikelihood()),
    "labels-cox-breslow": lambda: OfLabels(CoxPartialLikelihood("breslow")),
    "labels-hazards": lambda: OfLabels(DiscreteTimeHazards(WIDTH)),
    "agreement": lambda: CosineAgreement(WIDTH, 6, 4),
}
FURTHER = ("similarity", "phenotypes", "subjects", "event", "years")
NORMED = ("barlow-twins", "byol", "byol-two-predictors")
"""Objectives whose projection heads have batch norm over the global batch."""


class Pair(nn.Module):
    """Two towers and their objective, as the alignment stage has them; float64, weights drawn from a fixed seed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.towers = nn.ModuleList(_tower(width, name in NORMED) for width in (6, 7))
        self.objective = OBJECTIVES[name]()
        generator = torch.Generator().manual_seed(3)
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim > 0:  # temperatures stay where they were set
                    parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        self.target = MomentumTarget(list(self.towers)) if "target_a" in getattr(self.objective, "needs", ()) else None

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        ecg, cmr = self.towers
        a, b = ecg(batch["ecg"]), cmr(batch["cmr"])
        further = {name: batch[name] for name in FURTHER if name in batch}
        if self.target is not None:
            further |= {"target_a": self.target(0, batch["ecg"]), "target_b": self.target(1, batch["cmr"])}
        if "third" in batch:
            further["c"] = ecg(batch["third"])
        if "tokens" in batch:
            phases = torch.arange(FRAMES, dtype=torch.float64) / FRAMES
            further |= self.objective.segments(ecg(batch["tokens"]), batch["phase"], cmr(batch["frames"]), phases)
        return self.objective(a, b, **further)


def _tower(width: int, norm: bool) -> nn.Module:
    if not norm:
        return nn.Linear(width, WIDTH)
    return nn.Sequential(nn.Linear(width, 8), GlobalBatchNorm(8), nn.ReLU(), nn.Linear(8, WIDTH))


def global_batch(name: str, rows: int) -> dict[str, Tensor]:
    """All ranks' inputs, one row per subject."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    batch = {"ecg": draw(rows, 6), "cmr": draw(rows, 7)}
    if name.endswith("three-way"):
        batch["third"] = draw(rows, 6)
    if name.startswith("guided"):
        batch["similarity"] = torch.corrcoef(draw(rows, 2)).reshape(rows, rows)
    elif name.startswith("phenotypes"):
        phenotypes = draw(rows, 3)
        phenotypes[draw(rows, 3) > 1.0] = float("nan")
        batch["phenotypes"] = phenotypes
    elif name == "clocs":
        batch["subjects"] = torch.arange(rows) // 2 * 2 % max(rows - 2, 1)
    elif name.startswith("labels"):
        years = draw(rows, WIDTH).abs().mul(2).ceil()  # with ties
        years[draw(rows, WIDTH) > 1.0] = float("nan")
        years[-rows // 4 :] = float("nan")  # a rank of its own knows nothing
        batch |= {"years": years, "event": (draw(rows, WIDTH) > -0.5).double()}
    elif name == "ptacl":
        batch |= {"tokens": draw(rows, TOKENS, 6), "frames": draw(rows, FRAMES, 7)}
        phase = torch.rand(rows, TOKENS, generator=generator, dtype=torch.float64)
        phase[:, 0] = float("nan")
        phase[1:2] = float("nan")  # of one subject nothing is known
        batch["phase"] = phase
    return batch


def loss_and_gradients(model: nn.Module, pair: Pair, batch: dict[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
    """Run one step of a model, which may be `pair` wrapped, and return its loss and `pair`'s gradients."""
    loss = model(batch)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in pair.named_parameters() if p.requires_grad}
