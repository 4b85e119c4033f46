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
    GlobalBatchNorm,
    MomentumTarget,
    NTXentLoss,
    PhenotypeGuidedCLIPLoss,
    PTACLLoss,
    SigLIPLoss,
    SimilarityGuidedCLIPLoss,
)

FRAMES, TOKENS, WIDTH = 4, 9, 5

OBJECTIVES: dict[str, Callable[[], nn.Module]] = {
    "clip": lambda: CLIPLoss(0.3, 0.75),
    "clip-learned-temperature": lambda: CLIPLoss(0.3, 0.25, learnable_temperature=True),
    "siglip": lambda: SigLIPLoss(0.3, -1.0),
    "ntxent": lambda: NTXentLoss(0.3, learnable_temperature=True),
    "guided-positives": lambda: SimilarityGuidedCLIPLoss(0.3, 0.5, "positives"),
    "guided-exclude": lambda: SimilarityGuidedCLIPLoss(0.3, 0.5, "exclude", image_to_ecg_weight=0.3),
    "phenotypes-soft": lambda: PhenotypeGuidedCLIPLoss(0.3, "soft", learnable_temperature=True),
    "phenotypes-cosine": lambda: PhenotypeGuidedCLIPLoss(0.3, "positives", 0.2, similarity="cosine"),
    "barlow-twins": lambda: BarlowTwinsLoss(0.1),
    "byol": lambda: BYOLLoss(WIDTH, 6, 0.9),
    "byol-two-predictors": lambda: BYOLLoss(WIDTH, 6, 0.9, shared_predictor=False),
    "clocs": lambda: CLOCSLoss(0.3, learnable_temperature=True),
    "ptacl": lambda: PTACLLoss(0.3, 0.6, True, local_weight=0.7, local_temperature=0.4),
}
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
        further = {name: batch[name] for name in ("similarity", "phenotypes", "subjects") if name in batch}
        if self.target is not None:
            further |= {"target_a": self.target(0, batch["ecg"]), "target_b": self.target(1, batch["cmr"])}
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
    if name.startswith("guided"):
        batch["similarity"] = torch.corrcoef(draw(rows, 2))
    elif name.startswith("phenotypes"):
        phenotypes = draw(rows, 3)
        phenotypes[draw(rows, 3) > 1.0] = float("nan")
        batch["phenotypes"] = phenotypes
    elif name == "clocs":
        batch["subjects"] = torch.arange(rows) // 2 * 2 % max(rows - 2, 1)
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
