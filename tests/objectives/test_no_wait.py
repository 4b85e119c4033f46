"""Losses on a device that holds no numbers: what reads one on the host, or has to know how many there are, fails.

PyTorch's ``meta`` device stands for an accelerator, a group of two ranks that exchange nothing for the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from distributed_objectives import FRAMES, OBJECTIVES, TOKENS, WIDTH
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from ecgcmr.objectives import CLIPLoss, gather_rows
from ecgcmr.objectives.gather import equal_rows

ROWS, WORLD = 4, 2
STATED = {
    "three-way": (3, 3),  # one for each pair
    "phenotypes-three-way": (2, 2),  # of which one has no weight
    "barlow-twins": (1, 1),
    "byol": (2, 2),  # a batch norm of the predictor for each view
    "byol-two-predictors": (2, 2),
    "labels-known": (1, 0),
    "labels-cox": (1, 1),
    "labels-cox-breslow": (1, 1),
    "labels-hazards": (1, 0),
    "agreement": (8, 8),  # three batch norms of the projector and one of the predictor for each view
}
"""Collectives forward and back; of all others one each."""


class Collectives(TorchDispatchMode):
    """Counts collectives."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


class NothingFromTheHost(TorchFunctionMode):
    """Refuses to make a tensor on the device of numbers on the host, for which CUDA waits too."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.tensor, torch.as_tensor, Tensor.new_tensor), f"{func} copies and waits"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # it knows no such device
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=WORLD)
    yield
    dist.destroy_process_group()


def inputs(name: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Both embeddings of one rank, and what the objective needs further."""
    a, b = (torch.zeros(ROWS, WIDTH, device="meta", requires_grad=True) for _ in range(2))
    given = {}
    if name.endswith("three-way"):
        given["c"] = torch.zeros(ROWS, WIDTH, device="meta", requires_grad=True)
    if name.startswith("guided"):
        given["similarity"] = torch.zeros(ROWS, ROWS * WORLD, device="meta")
    elif name.startswith("phenotypes"):
        given["phenotypes"] = torch.zeros(ROWS, 3, device="meta")
    elif name == "clocs":
        given["subjects"] = torch.zeros(ROWS, dtype=torch.int64, device="meta")
    elif name.startswith("byol"):
        given |= {"target_a": a.detach(), "target_b": b.detach()}
    elif name.startswith("labels"):
        given |= {"event": torch.zeros(ROWS, WIDTH, device="meta"), "years": torch.zeros(ROWS, WIDTH, device="meta")}
    return a, b, given


@pytest.mark.usefixtures("two_ranks")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_reads_nothing_and_exchanges_once_each_way(name: str) -> None:
    objective = OBJECTIVES[name]().to("meta")
    a, b, further = inputs(name)
    with NothingFromTheHost(), equal_rows(ROWS):
        if name == "ptacl":
            tokens, frames = (torch.zeros(ROWS, count, WIDTH, device="meta") for count in (TOKENS, FRAMES))
            phase = torch.zeros(ROWS, TOKENS, device="meta")
            further |= objective.segments(tokens, phase, frames, torch.zeros(FRAMES, device="meta"))
        with Collectives() as forward:
            loss = objective(a, b, **further)
    with NothingFromTheHost(), Collectives() as back:
        loss.backward()
    assert (len(forward.names), len(back.names)) == STATED.get(name, (1, 1)), (forward.names, back.names)
    assert a.grad is not None


@pytest.mark.usefixtures("two_ranks")
def test_without_the_statement_the_counts_are_read() -> None:
    a, b = (torch.zeros(ROWS, WIDTH, device="meta") for _ in range(2))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        CLIPLoss()(a, b)


@pytest.mark.usefixtures("two_ranks")
def test_a_part_of_the_batch_is_refused_unless_it_is_said_to_be_uneven() -> None:
    part = torch.zeros(ROWS - 1, WIDTH)
    with equal_rows(ROWS):
        with pytest.raises(ValueError, match=r"3 rows are gathered where every rank holds 4.*uneven=True"):
            gather_rows(part)
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
            gather_rows(part.to("meta"), uneven=True)  # exchanges the counts
        assert len(gather_rows(torch.zeros(ROWS, WIDTH)).rows) == ROWS * WORLD
