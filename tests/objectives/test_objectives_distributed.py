"""Losses over two gloo processes under real DDP against one process with the global batch, in float64.

One pool of processes is spawned for all tests of this file.
"""

from __future__ import annotations

import multiprocessing
import traceback

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ecgcmr.objectives import CLIPLoss, NTXentLoss, SimilarityGuidedCLIPLoss, gather_with_gradient

pytestmark = pytest.mark.multiprocess
WORLD = 2
TIMEOUT_S = 120


class Pair(nn.Module):
    """Two towers and their objective, as the alignment stage has them."""

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.ecg, self.cmr, self.objective = nn.Linear(6, 4), nn.Linear(5, 4), objective
        self.double()
        with torch.no_grad():
            for parameter in (*self.ecg.parameters(), *self.cmr.parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))

    def forward(self, ecg: torch.Tensor, cmr: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        return self.objective(self.ecg(ecg), self.cmr(cmr), *more)


OBJECTIVES = {
    "clip": lambda: CLIPLoss(0.3, 0.75),
    "clip-learned-temperature": lambda: CLIPLoss(0.3, 0.25, learnable_temperature=True),
    "ntxent": lambda: NTXentLoss(0.3),
    "guided-positives": lambda: SimilarityGuidedCLIPLoss(0.3, 0.5, "positives"),
    "guided-exclude": lambda: SimilarityGuidedCLIPLoss(0.3, 0.5, "exclude"),
}


def _global_batch(name: str, rows: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    batch = [torch.randn(rows, width, generator=generator, dtype=torch.float64) for width in (6, 5)]
    if name.startswith("guided"):
        traits = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
        batch.append(torch.corrcoef(traits))
    return batch


def _losses_and_gradients(model: nn.Module, pair: Pair, batch) -> tuple[float, list[torch.Tensor]]:
    loss = model(*batch)
    loss.backward()
    return loss.item(), [parameter.grad.clone() for parameter in pair.parameters()]


def ddp_step(name: str, sizes: list[int]):
    """One rank's loss and the gradient that DDP leaves on it."""
    rank = dist.get_rank()
    start = sum(sizes[:rank])
    batch = [part[start : start + sizes[rank]] for part in _global_batch(name, sum(sizes))]
    pair = Pair(OBJECTIVES[name]())
    return _losses_and_gradients(DistributedDataParallel(pair), pair, batch)


def gather_own_rows(sizes: list[int]):
    """Gathered rows, and the gradient of sum over ranks r of (r + 1) * sum(gathered * weights)."""
    rank = dist.get_rank()
    x = (torch.arange(sizes[rank] * 2, dtype=torch.float64).view(-1, 2) + 100 * rank).requires_grad_()
    rows = gather_with_gradient(x)
    weights = torch.arange(rows.shape[0], dtype=torch.float64)[:, None]
    ((rank + 1) * rows * weights).sum().backward()
    return rows.detach(), x.grad


def _worker(rank: int, store: str, connection) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    while (job := connection.recv()) is not None:
        function, arguments = job
        try:
            connection.send((True, function(*arguments)))
        except Exception:
            connection.send((False, traceback.format_exc()))
    dist.destroy_process_group()


class Pool:
    """Two gloo processes that run one function at a time together."""

    def __init__(self, store: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connections, self.processes = [], []
        for rank in range(WORLD):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(rank, store, theirs), daemon=True)
            process.start()
            self.connections.append(ours)
            self.processes.append(process)

    def run(self, function, *arguments) -> list:
        for connection in self.connections:
            connection.send((function, arguments))
        answers = []
        for connection in self.connections:
            assert connection.poll(TIMEOUT_S), "a rank did not answer: a collective that not all ranks take part in?"
            answers.append(connection.recv())
        assert all(ok for ok, _ in answers), [text for ok, text in answers if not ok]
        return [answer for _, answer in answers]

    def close(self) -> None:
        for connection, process in zip(self.connections, self.processes, strict=True):
            if process.is_alive():
                connection.send(None)
            process.join(10)
            if process.is_alive():
                process.terminate()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = Pool(str(tmp_path_factory.mktemp("gloo") / "store"))
    yield pool
    pool.close()


@pytest.mark.parametrize("sizes", [[4, 4], [5, 2], [0, 6], [6, 0]], ids=str)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_ddp_equals_the_global_batch(pool, name, sizes):
    pair = Pair(OBJECTIVES[name]())
    expected_loss, expected_gradients = _losses_and_gradients(pair, pair, _global_batch(name, sum(sizes)))
    answers = pool.run(ddp_step, name, sizes)
    assert sum(loss for loss, _ in answers) / WORLD == pytest.approx(expected_loss, rel=1e-9)
    for _, gradients in answers:
        assert len(gradients) == len(expected_gradients)
        for gradient, expected in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("sizes", [[3, 3], [1, 4], [0, 2]], ids=str)
def test_gather_gives_all_rows_and_returns_every_gradient(pool, sizes):
    answers = pool.run(gather_own_rows, sizes)
    expected = torch.cat(
        [torch.arange(size * 2.0).view(-1, 2) + 100 * rank for rank, size in enumerate(sizes)]
    ).double()
    for rank, (rows, gradient) in enumerate(answers):
        assert torch.equal(rows, expected)
        start = sum(sizes[:rank])
        weights = torch.arange(start, start + sizes[rank], dtype=torch.float64)[:, None]
        assert torch.equal(gradient, (1 + 2) * weights.expand(-1, 2))


def test_one_process_gathers_itself():
    x = torch.ones(2, 3, requires_grad=True)
    assert gather_with_gradient(x) is x
