"""The loader of planned batches: reads ahead, knows where it stands in an epoch, and goes on from there.

What it adds to torch's ``DataLoader``:

- Without workers it reads the next batches in threads while the caller works on this one. Reading is one call outside
  Python's global lock, so a thread suffices where others need a process, and nothing has to be sent between processes.
- Its state is a few integers, the same on every rank, which the data module puts into checkpoints. (Lightning has a way
  of its own to store a loader's state, but does not give it back where the optimiser's schedule has asked for the
  number of steps, which makes the loader too early.)
- The epoch and the place to start from are read when the first batch is asked for. Lightning asks for the iterator
  before it has told the sampler which epoch a resumed run is in.
"""

from __future__ import annotations

import signal
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader

from data_modules.batch import Batch
from data_modules.samplers import EpochBatchSampler, PlanSampler
from ecgcmr.errors import UserError

SECONDS_AFTER_SIGTERM = 20
"""How long a worker outlives SIGTERM; a trainer that is done ends it sooner."""
READING_THREADS = 2
"""Batches read at the same time, and held ready, without workers."""


class PlanLoader(DataLoader[Batch | UserError]):
    """A ``DataLoader`` over ``ShardBatches`` whose sampler is a ``PlanSampler``.

    Attributes:
        on_other_batches: Called when a resumed epoch goes on with another global batch size, with the number of
            batches to count as done, so that the trainer expects those that are left.
    """

    on_other_batches: Callable[[int], None] | None = None
    _resume: dict[str, int] | None = None
    _first = 0  # rows of the epoch's order that came before this iteration's first batch
    _given = 0  # batches given out since

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches of the sampler's epoch; nothing happens before the first is asked for."""
        return self._batches()

    def _batches(self) -> Iterator[Batch]:
        self._first, self._given = self._place()
        batches: Iterator[Batch | UserError] = self._read_ahead() if self.num_workers == 0 else super().__iter__()
        failure: UserError | None = None
        for batch in batches:
            if isinstance(batch, UserError):  # a worker's
                failure = batch
                break
            self._given += 1
            yield batch
        if failure is not None:
            # Let go of the workers, so that they end now: the traceback would keep them in a cycle (see ``weakly``).
            self._iterator = None
            del batches
            raise failure

    def _place(self) -> tuple[int, int]:
        """Return where this iteration starts: the rows to skip, and no batch given out."""
        state, self._resume = self._resume, None
        sampler = self.sampler
        if not isinstance(sampler, PlanSampler):  # Lightning's overfit_batches puts its own
            return 0, 0
        skip = state["rows"] if state is not None and state["epoch"] == sampler.epoch else 0
        sampler.skip = skip
        return skip, 0

    def _read_ahead(self) -> Iterator[Batch]:
        dataset: Any = self.dataset
        pending: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(READING_THREADS, thread_name_prefix="shards")
        try:
            for plan in self.sampler:
                pending.append(pool.submit(dataset.__getitem__, plan))
                if len(pending) > READING_THREADS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands, in global terms: the same on every rank.

        ``rows`` of the order of ``epoch`` have been given out, of a training set of ``size`` rows under ``seed``.
        """
        sampler = self.sampler
        if not isinstance(sampler, EpochBatchSampler):
            return {}
        return {
            "epoch": sampler.epoch,
            "rows": self._first + self._given * sampler.global_batch,
            "global_batch": sampler.global_batch,
            "size": sampler.size,
            "seed": sampler.data_seed,
        }

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Start the next iteration, if it is of the stored epoch, behind the rows that were given out."""
        sampler = self.sampler
        if not state_dict or not isinstance(sampler, EpochBatchSampler):
            return
        self._resume = dict(state_dict)
        sampler.on_epoch = weakly(self._announce)
        if (state_dict["size"], state_dict["seed"]) != (sampler.size, sampler.data_seed):
            rank_zero_info(
                f"note: resumed within an epoch of {state_dict['size']} rows under seed {state_dict['seed']}, the data "
                f"have {sampler.size} under seed {sampler.data_seed}: its remaining batches are others than they were"
            )

    def _announce(self, epoch: int) -> None:
        """Tell how many batches count as done, if a resumed epoch begins with another global batch size."""
        sampler, state = self.sampler, self._resume
        if state is None or epoch != state["epoch"] or not isinstance(sampler, EpochBatchSampler):
            return
        if state["global_batch"] != sampler.global_batch and self.on_other_batches is not None:
            left = max(0, sampler.size - state["rows"]) // sampler.global_batch
            self.on_other_batches(len(sampler) - left)


def outlive_sigterm(_worker: int) -> None:
    """Let a worker go on for a while after SIGTERM: where all processes get it, the trainer still ends its batch."""
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(SECONDS_AFTER_SIGTERM))


def weakly(method: Callable[[int], None]) -> Callable[[int], None]:
    """Return a function that calls a bound method while its object lives, and does not keep it alive.

    A loader in a reference cycle would be taken down by the garbage collector, which finalises its queues before it
    tells the workers to stop, so that each is waited for in vain for five seconds.
    """
    reference = weakref.WeakMethod(method)

    def call(number: int) -> None:
        living = reference()
        if living is not None:
            living(number)

    return call
