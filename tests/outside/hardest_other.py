"""A contrast by margin: the partner is to be more similar than the likest of all others."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ecgcmr.objectives.gather import gather_rows


class HardestOther(nn.Module):
    """The mean of what the likest other lacks to a margin of cosine similarity."""

    needs = ()

    def __init__(self, margin: float = 0.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        everyone = gather_rows(normalize(b.float(), dim=1))  # of all ranks, with gradient
        similarity = normalize(a.float(), dim=1) @ everyone.rows.T
        row = torch.arange(len(a), device=a.device)
        partner = torch.zeros_like(similarity, dtype=torch.bool)
        partner[row, everyone.start + row] = True
        likest = similarity.masked_fill(partner, -1.0).amax(dim=1)
        return everyone.scale * (self.margin + likest - similarity[partner]).clamp(min=0.0).sum()
