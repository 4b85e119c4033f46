"""Losses over 1, 2 and 4 gloo ranks under real DDP against one process with the global batch, in float64.

One pool of processes serves all tests of this file.
"""

from __future__ import annotations

import multiprocessing
import traceback

import pytest
import torch
import torch.distributed as dist
from distributed_objectives import OBJECTIVES, Pair, global_batch, loss_and_gradients
from torch.nn.parallel import DistributedDataParallel

from ecgcmr.errors import UserError
from ecgcmr.objectives import GlobalBatchNorm, gather_rows, sum_over_ranks

pytestmark = pytest.mark.multiprocess
MOST = 4
TIMEOUT_S = 120
SIZES = ([7], [4, 4], [5, 2], [0, 6], [2, 2, 2, 2], [3, 1, 2, 1], [0, 3, 0, 2])
"""Rows on each rank: even, a last batch that is not, ranks with nothing."""


def _own(batch: dict[str, torch.Tensor], sizes: list[int]) -> dict[str, torch.Tensor]:
    start = sum(sizes[: dist.get_rank()])
    return {name: part[start : start + sizes[dist.get_rank()]] for name, part in batch.items()}


def ddp_step(name: str, sizes: list[int]):
    """One rank's loss and the gradients that DDP leaves on it."""
    pair = Pair(name)
    return loss_and_gradients(DistributedDataParallel(pair), pair, _own(global_batch(name, sum(sizes)), sizes))


def gather_own_rows(sizes: list[int]):
    """Gathered rows, and the gradient of sum over ranks r of (r + 1) * sum(gathered * weights)."""
    rank = dist.get_rank()
    x = (torch.arange(sizes[rank] * 2, dtype=torch.float64).view(-1, 2) + 100 * rank).requires_grad_()
    rows = gather_rows(x).rows
    weights = torch.arange(rows.shape[0], dtype=torch.float64)[:, None]
    ((rank + 1) * rows * weights).sum().backward()
    return rows.detach(), x.grad


def sum_own():
    """A sum over ranks, and the gradient of sum over ranks r of (r + 1) * total."""
    rank = dist.get_rank()
    x = torch.full((2,), float(rank + 1), requires_grad=True)
    total = sum_over_ranks(x)
    ((rank + 1) * total).sum().backward()
    return total.detach(), x.grad


def batch_norm_statistics(sizes: list[int]):
    """Running statistics that a batch norm keeps of all ranks' rows."""
    norm = GlobalBatchNorm(3).double()
    norm(_own({"x": torch.arange(3.0 * sum(sizes), dtype=torch.float64).view(-1, 3) ** 2}, sizes)["x"])
    return norm.running_mean, norm.running_var


def _worker(rank: int, store: str, connection) -> None:
    torch.set_num_threads(1)
    current = None
    while (job := connection.recv()) is not None:
        group, world, function, arguments = job
        try:
            if group != current:
                if dist.is_initialized():
                    dist.destroy_process_group()
                dist.init_process_group("gloo", init_method=f"file://{store}{group}", rank=rank, world_size=world)
                current = group
            connection.send((True, function(*arguments)))
        except Exception:
            connection.send((False, traceback.format_exc()))
    if dist.is_initialized():
        dist.destroy_process_group()


class Pool:
    """Four processes of which the first few run one function at a time together, as ranks of one group."""

    def __init__(self, store: str) -> None:
        context = multiprocessing.get_context("forkserver")
        # What takes long to import is imported once, in a process that runs nothing else.
        context.set_forkserver_preload(["ecgcmr.objectives", "torch.nn.parallel", "pytest"])
        self.connections, self.processes = [], []
        self.group, self.world = 0, 0
        for rank in range(MOST):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(rank, store, theirs), daemon=True)
            process.start()
            self.connections.append(ours)
            self.processes.append(process)

    def run(self, world: int, function, *arguments) -> list:
        if world != self.world:  # another group of processes, whose store is a file of its own
            self.group, self.world = self.group + 1, world
        for connection in self.connections[:world]:
            connection.send((self.group, world, function, arguments))
        answers = []
        for connection in self.connections[:world]:
            assert connection.poll(TIMEOUT_S), "a rank did not answer: a collective that not all ranks take part in?"
            answers.append(connection.recv())
        assert all(ok for ok, _ in answers), [text for ok, text in answers if not ok]
        return [answer for _, answer in answers]

    def close(self) -> None:
        for connection, process in zip(self.connections, self.processes, strict=True):
            if process.is_alive():
                connection.send(None)
        for process in self.processes:
            process.join(10)
            if process.is_alive():
                process.terminate()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = Pool(str(tmp_path_factory.mktemp("gloo") / "store"))
    yield pool
    pool.close()


# The sizes outside, so that the process group is made anew only twice.
@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_ddp_equals_the_global_batch(pool, sizes, name):
    pair = Pair(name)
    expected_loss, expected = loss_and_gradients(pair, pair, global_batch(name, sum(sizes)))
    answers = pool.run(len(sizes), ddp_step, name, sizes)
    assert sum(loss for loss, _ in answers) / len(sizes) == pytest.approx(expected_loss, rel=1e-9)
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in expected.values())
    for _, gradients in answers:
        assert gradients.keys() == expected.keys()
        for parameter, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[parameter], rtol=1e-6, atol=1e-9, msg=parameter)


@pytest.mark.parametrize("sizes", [[3, 3], [1, 4], [0, 2], [1, 0, 2, 1]], ids=str)
def test_gather_gives_all_rows_and_returns_every_gradient(pool, sizes):
    answers = pool.run(len(sizes), gather_own_rows, sizes)
    expected = torch.cat(
        [torch.arange(size * 2.0).view(-1, 2) + 100 * rank for rank, size in enumerate(sizes)]
    ).double()
    for rank, (rows, gradient) in enumerate(answers):
        assert torch.equal(rows, expected)
        start = sum(sizes[:rank])
        weights = torch.arange(start, start + sizes[rank], dtype=torch.float64)[:, None]
        assert torch.equal(gradient, sum(range(1, len(sizes) + 1)) * weights.expand(-1, 2))


def test_sum_and_its_gradient(pool):
    for total, gradient in pool.run(4, sum_own):
        assert torch.equal(total, torch.full((2,), 10.0))
        assert torch.equal(gradient, torch.full((2,), 10.0))


def test_batch_norm_keeps_the_statistics_of_all_rows(pool):
    sizes = [3, 0, 1, 2]
    everything = torch.arange(18.0, dtype=torch.float64).view(6, 3) ** 2
    norm = torch.nn.BatchNorm1d(3).double()
    norm(everything)
    for mean, variance in pool.run(4, batch_norm_statistics, sizes):
        torch.testing.assert_close(mean, norm.running_mean)
        torch.testing.assert_close(variance, norm.running_var)


def test_one_process_gathers_itself():
    x = torch.ones(2, 3, requires_grad=True)
    assert gather_rows(x).rows is x
    assert sum_over_ranks(x) is x


def refusal(name: str, sizes: list[int]) -> str:
    """What a rank says of a global batch."""
    try:
        ddp_step(name, sizes)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if not name.startswith("labels")])
def test_a_global_batch_of_one_recording_is_refused_on_every_rank(pool, name):
    for answer in pool.run(2, refusal, name, [0, 1]):
        assert "one recording" in answer
    assert pool.run(2, refusal, name, [1, 1]) == ["", ""]
