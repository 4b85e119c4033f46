"""When a fit has ended: how far to go from the weights at step 0 to the best ones, chosen on validation.

Weights between those a fit starts from and those it ends with are often better than either (Wortsman et al. 2022, arXiv
2109.01903), and share 0, "stay at the start", lets no fine-tuning end below its probe on validation. Validation is
looked at many times in a fit, and its best is partly luck: where a fit started at a probe, a share has to be better
than a smaller one by more than the noise of the rows they are compared on. Random weights are nothing to stay at.

Floating-point tensors are interpolated, running statistics of batch norms among them. Between the ends those are not
quite the statistics of the interpolated network; but shares 0 and 1 are exact, and each share is judged with the very
statistics it would be handed on with, so that one they do not fit is not chosen. To measure them anew would take a pass
over the training rows for each share. Other tensors, such as counts of batches, are those of the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor, nn

from ecgcmr.encoders.low_rank import merge_low_rank, plain_name, plain_state
from ecgcmr.stages.block_scores import BLOCKS, ScoredInBlocks, error_of_difference, left_out_scores
from ecgcmr.stages.trained_part import LOW_RANK_KEY
from ecgcmr.torch_file import load_torch_file
from ecgcmr.training import tuning_record
from ecgcmr.training.quiet_validation import is_better, monitored, validate_quietly
from ecgcmr.training.weight_average import TRAINED, averaged_tensors, copy_into
from ecgcmr.training.whole_checkpoints import BEST

START, FROM_PROBE, CHOSEN = "ecgcmr_start_weights", "ecgcmr_starts_at_probe", "ecgcmr_final_weights"
"""Keys in a checkpoint: the weights at step 0, whether they are a probe's, and what was chosen, in a ``best.ckpt``."""
SECTION = "final_weights"


def interpolated(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the tensors of ``start``, moved by a share towards those of ``end``; exact at 0 and 1.

    Args:
        start: Floating-point tensors by name, all of which ``end`` has.
        end: A state dict.
        share: In [0, 1].
    """
    between = {}
    for name, first in start.items():
        last = end[name].to(first)
        moved = torch.lerp(first, last, share)
        between[name] = first if share == 0 else last if share == 1 else torch.where(first == last, last, moved)
    return between


def plain_start(module: nn.Module) -> dict[str, Tensor]:
    """Return what training changes of a module under the names, and with the values, of ordinary weights, on the CPU.

    Half of both factors of an update of low rank is a quarter of it, and ``best.ckpt`` does not hold them as weights.
    """
    plain = plain_state(module.state_dict())
    names = dict.fromkeys(plain_name(name) for name in averaged_tensors(module))
    return {name: plain[name].detach().cpu().clone() for name in names}


@dataclass(frozen=True)
class Judged:
    """What validation says of a share.

    Attributes:
        share: Of the way from start to best.
        score: What the stage monitors.
        without: The same without each block of rows; empty of a stage that does not score rows one by one.
    """

    share: float
    score: float
    without: list[float]


def chosen(judged: Sequence[Judged], mode: str, certainty: float) -> float:
    """Return the smallest share than which the best one is not better with certainty.

    Args:
        judged: Of ascending shares. A NaN is worse than any number; if all are NaN the largest share is best.
        mode: ``min`` or ``max``.
        certainty: Standard errors of the paired difference by which the best has to be ahead; 0 takes the best itself,
            the smallest of equals.
    """
    best = judged[-1]
    for one in reversed(judged[:-1]):
        if not math.isnan(one.score) and not is_better(best.score, one.score, mode):
            best = one
    for one in judged:
        ahead = abs(best.score - one.score)
        if one is best or ahead <= certainty * error_of_difference(best.without, one.without):
            return one.share
    return best.share


class ShareChoice(Callback):
    """Keeps the weights at step 0, judges every share at the end, and writes the best into ``best.ckpt``.

    The choice comes after the last step, also in a fit that is resumed with
    no step left, so that one that is killed meanwhile goes on; a ``best.ckpt`` that says it is the chosen one stands.

    Args:
        shares: Candidates in [0, 1].
        averaged: Whether validations judge averaged weights, for the record.
        certainty: Of the choice where the fit started at a probe, see ``chosen``; 0 elsewhere.
    """

    def __init__(self, shares: Sequence[float], *, averaged: bool, certainty: float = 0.0) -> None:
        self.shares = sorted(set(shares))
        self.averaged = averaged
        self.certainty = certainty
        self._start: dict[str, Tensor] = {}
        self._from_probe = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Keep the weights before the first step, and record what validation says of them."""
        if trainer.global_step > 0 or self._start:
            return
        self._start = plain_start(pl_module)
        self._from_probe = isinstance(pl_module, ScoredInBlocks) and pl_module.starts_at_probe
        tuning_record.record(Path(trainer.default_root_dir), "start", {"scores": validate_quietly(trainer)})

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the weights at step 0, for a fit that goes on."""
        if self._start:
            checkpoint[START], checkpoint[FROM_PROBE] = self._start, self._from_probe

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        self._start = {name: tensor.cpu() for name, tensor in checkpoint.get(START, {}).items()}
        self._from_probe = bool(checkpoint.get(FROM_PROBE, False))

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Choose; all ranks do.

        Raises:
            UserError: The stage does not log what it monitors, or a network between is not finite.
        """
        folder = Path(trainer.default_root_dir)
        best = folder / BEST
        if trainer.interrupted or not best.is_file():
            return
        checkpoint = load_torch_file(best, kind="checkpoint")
        if CHOSEN not in checkpoint:
            if not self._start:
                rank_zero_info(f"note: the weights of step 0 are in no checkpoint; {BEST} stays as it is")
                return
            self._choose(trainer, pl_module, checkpoint)
            trainer.strategy.barrier("final_weights")  # all have read the file that rank zero replaces
            if trainer.is_global_zero:
                trainer.strategy.checkpoint_io.save_checkpoint(checkpoint, best)
        tuning_record.record(folder, SECTION, checkpoint[CHOSEN])

    def _choose(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Put the chosen weights into a checkpoint of the best ones."""
        state, judged = checkpoint["state_dict"], []
        certainty = self.certainty if self._from_probe else 0.0
        merge_low_rank(pl_module)  # a fit that is resumed with no step left has not yet
        copy_into(pl_module, state)
        for share in self.shares:
            copy_into(pl_module, interpolated(self._start, state, share))
            judged.append(_judge(trainer, pl_module, share, in_blocks=certainty > 0))
        share = chosen(judged, pl_module.mode, certainty)
        weights = interpolated(self._start, state, share)
        copy_into(pl_module, weights)
        pl_module.cpu()
        parts = {plain_name(name) for name in checkpoint.get(LOW_RANK_KEY, {})}  # a fit goes on with these as they are
        checkpoint.setdefault(TRAINED, {name: state[name] for name in weights if name not in parts})
        checkpoint["state_dict"] = {**state, **weights}
        checkpoint[CHOSEN] = {
            "share": share,
            "averaged": self.averaged,
            "monitor": pl_module.monitor,
            "mode": pl_module.mode,
            "certainty": certainty,
            "scores": [{"share": one.share, "score": one.score} for one in judged],
        }
        shown = ", ".join(f"{one.share:g}: {one.score:.4g}" for one in judged)
        rank_zero_info(f"share {share:g} of the way from start to best is taken, by {pl_module.monitor} ({shown})")


def _judge(trainer: Any, pl_module: Any, share: float, *, in_blocks: bool) -> Judged:
    """Validate the weights as they are, and without each block of rows too."""
    if in_blocks:
        pl_module.left_out_blocks = BLOCKS
    try:
        scores = validate_quietly(trainer)
    finally:
        if in_blocks:
            pl_module.left_out_blocks = 0
    return Judged(share, monitored(scores, pl_module.monitor), left_out_scores(scores, pl_module.monitor))
