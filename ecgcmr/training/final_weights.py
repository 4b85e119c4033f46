"""``final_weights`` of a fit's config: averaged over its steps, and between where it started and its best."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lightning.pytorch.callbacks import Callback

from ecgcmr.errors import UserError
from ecgcmr.training.share_choice import ShareChoice
from ecgcmr.training.weight_average import AveragedWeights, TrainedWeights

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass
class FinalWeights:
    """Which weights a fit hands on.

    Attributes:
        average: Decay of an exponential average of the trained weights over the steps, in [0, 1); validations judge the
            average, and best.ckpt holds it. ``auto`` reaches back over a twentieth of the most steps; null takes the
            weights as they are.
        shares: Shares of the way from the weights at step 0 to the best ones, in [0, 1], among which validation chooses
            by the stage's monitor when the fit ends; 0 stays at the start. Empty keeps the best.
        certainty: How far the best share has to be ahead of a smaller one, in standard errors of their difference
            over the validation rows, where the fit started at a probe; else the smaller is taken. 1 is the usual rule
            of one standard error (Breiman et al. 1984); 0 takes the best however little it is ahead, as does every fit
            from random weights or a random head.
    """

    average: float | Literal["auto"] | None = "auto"
    shares: list[float] = field(default_factory=lambda: list(SHARES))
    certainty: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.average, (int, float)) and not 0.0 <= self.average < 1.0:
            raise UserError(f"final_weights.average is {self.average:g}; it must lie in [0, 1), or be auto or null")
        odd = [share for share in self.shares if not 0.0 <= share <= 1.0]
        if odd:
            raise UserError(f"final_weights.shares holds {odd[0]:g}; each must lie in [0, 1]")
        if not 0.0 <= self.certainty < float("inf"):
            raise UserError(f"final_weights.certainty is {self.certainty:g}; give standard errors, 0 or more")


def final_weights_callbacks(settings: FinalWeights | None) -> list[Callback]:
    """Return what a fit needs for its final weights.

    Args:
        settings: None: its weights are those of the best validation as they are.
    """
    average = None if settings is None else settings.average
    averages = TrainedWeights() if average is None else AveragedWeights(None if average == "auto" else float(average))
    if settings is None or not settings.shares:
        return [averages]
    return [averages, ShareChoice(settings.shares, averaged=average is not None, certainty=settings.certainty)]
