"""What a second process brings: steps of two ranks of one thread each against one process of one thread.

Each rank takes as many samples as the one process, as devices are added in practice. The efficiency is the throughput
of the two over twice that of the one; what is missing to 1 goes into gradients that are exchanged, embeddings that are
gathered, and memory that both wait for. The last is seen apart: two processes that exchange nothing are the ceiling of
this machine.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ecgcmr.benchmarks.processes import OwnProcess, Works, side_by_side
from ecgcmr.benchmarks.steps import AlignmentSteps, AutoencoderSteps, TrainingSteps, training_step
from ecgcmr.benchmarks.timing import interleaved
from ecgcmr.encoders import CMRResNet, ECGVisionTransformer
from ecgcmr.encoders.kernels import use_kernels
from ecgcmr.objectives.gather import equal_rows
from ecgcmr.speed_choices.choose import LOW_PRECISION, choose_on_cpu
from ecgcmr.training.host_memory import keep_freed_memory

_CPU = torch.device("cpu")
_RANKS = 2


def measure(
    batch: int = 64,
    pairs: int = 16,
    rounds: int = 3,
    encoder: ECGVisionTransformer | None = None,
    image_encoder: CMRResNet | None = None,
) -> dict[str, float]:
    """Return efficiencies and rates on this machine's CPU, in the precision that ``fit`` would choose.

    Args:
        batch: ECGs of a process in a step of the masked autoencoder.
        pairs: Pairs of a process in a step of the alignment.
        rounds: Runs of each step of which the fastest counts.
        encoder: The published tiny size if not given.
        image_encoder: ResNet-50 on 3 frames of 210 x 210 if not given.

    Returns:
        ``ddp_efficiency_mae`` and ``ddp_efficiency_alignment``, their lower one as ``ddp_efficiency``, samples a second
        of one and of two processes, and ``ddp_ceiling_mae`` and ``ddp_ceiling_alignment``, the same ratio of two
        processes that exchange nothing.
    """
    torch.manual_seed(0)
    encoder = encoder or ECGVisionTransformer()
    image_encoder = image_encoder or CMRResNet("resnet50", frames=3, height=210, width=210)
    given = (encoder, image_encoder, batch, pairs)
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        # The one first: what it measures of this machine the others find.
        one = stack.enter_context(OwnProcess(rank_works, *given, 0, 1, "", threads=1))
        other = stack.enter_context(OwnProcess(rank_works, *given, 0, 1, "", threads=1))
        store = str(Path(folder) / "store")
        both = [OwnProcess(rank_works, *given, rank, _RANKS, store, threads=1) for rank in range(_RANKS)]
        for process in both:
            stack.enter_context(process)
        for task, samples in (("mae", batch), ("alignment", pairs)):
            works = {
                "one": one.work(task),
                "two": side_by_side(both, task),
                "apart": side_by_side([one, other], task),
            }
            took = interleaved(works, rounds)
            result[f"ddp_efficiency_{task}"] = took["one"] / took["two"]
            result[f"ddp_ceiling_{task}"] = took["one"] / took["apart"]
            result[f"ddp_{task}_samples_per_s_1"] = samples / took["one"]
            result[f"ddp_{task}_samples_per_s_2"] = _RANKS * samples / took["two"]
    result["ddp_efficiency"] = min(result["ddp_efficiency_mae"], result["ddp_efficiency_alignment"])
    return result


class StepLoss(nn.Module):
    """The loss of a step as a module, so that distributed data parallel can be put around it.

    Args:
        steps: Whose networks and loss.
        rows: Samples of each rank.
    """

    def __init__(self, steps: TrainingSteps, rows: int) -> None:
        super().__init__()
        self.network = steps.network
        self._loss, self._rows = steps.loss, rows

    def forward(self) -> Tensor:
        """Return this rank's part of the loss."""
        with equal_rows(self._rows):
            return self._loss()


def rank_works(
    encoder: ECGVisionTransformer,
    image_encoder: CMRResNet,
    batch: int,
    pairs: int,
    rank: int,
    world: int,
    store: str,
) -> Works:
    """Return the steps ``mae`` and ``alignment`` of one rank, or of a process alone; for a process of its own."""
    keep_freed_memory()
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    return {
        "mae": _work(AutoencoderSteps(encoder, batch, _CPU), batch),
        # Of networks of its own, which no other work sets the ways of.
        "alignment": _work(AlignmentSteps(copy.deepcopy(encoder), image_encoder, pairs, _CPU), pairs),
    }


def _work(steps: TrainingSteps, samples: int) -> Callable[[], None]:
    chosen = choose_on_cpu(steps.network, None, training=True)
    use_kernels(steps.network, chosen.kernels)
    loss: Callable[[], Tensor] = StepLoss(steps, samples)
    if dist.is_initialized():
        loss = DistributedDataParallel(loss, gradient_as_bucket_view=True)
    return training_step(loss, steps.optimiser, _CPU, chosen.precision == LOW_PRECISION)
