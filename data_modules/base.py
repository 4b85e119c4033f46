"""What all data modules share: rows of a split -> sampler -> loader -> floats and augmentation on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data_modules.batch import Batch, to_float
from data_modules.cohort_rows import CohortDataModule
from data_modules.dataset import VERIFY_READS, ShardBatches
from data_modules.loader import PlanLoader, outlive_sigterm, weakly
from data_modules.samplers import EpochBatchSampler, EvaluationBatchSampler, PlanSampler
from data_modules.sampling import PURPOSE, SHUFFLES, WINDOW, crop_starts, window_key
from ecgcmr.augmentations.own_augmentation import check_own_augmentation
from ecgcmr.augmentations.sampling_rates import check_rates
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_choice, check_least
from ecgcmr.row_random import RowGenerator, with_host_copy
from ecgcmr.windows import cut_windows, cut_windows_at, window_starts


class ShardDataModule(CohortDataModule):
    """Streams a cohort of shards. Subclasses say which modalities a row must have.

    A batch is a ``data_modules.batch.Batch``. The global batches of training, one after the other, follow from the
    rows, the seed, the epoch and the global batch size; crops and augmentation from the seed, the epoch and the row.
    Workers, ranks and interruptions change nothing. Validation, test and prediction go through each row once, in index
    order, from sample 0 or in several windows, without augmentation.

    Attributes:
        covariate_names: Labels that a model is given beside its input; empty for none.
        diseases: Whose time to event is the target; empty for other targets.
        evaluation_windows: Windows of each ECG in validation, test and prediction; of more than one its batches hold
            (B, windows, leads, samples).
        train_windows: The same in training.
        augmentations: Per modality ``augmentation(x, generator) -> x``, called on a training batch on the device with a
            ``RowGenerator``.
    """

    evaluation_windows: int = 1
    train_windows: int = 1
    covariate_names: Sequence[str] = ()
    diseases: Sequence[str] = ()

    def __init__(
        self,
        root: list[str] | str | Path,
        batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
        shuffle: str = "global",
        pin_memory: bool | None = None,
        start_method: str | None = None,
        window: int = WINDOW,
        locking: bool | None = False,
        verify_reads: str = "first",
        **options: Any,
    ) -> None:
        """Set up the data module; no file is touched.

        Args:
            root: Folder that ``ecgcmr prepare`` or ``ecgcmr synthesize --format shards`` wrote; of a list the cohorts
                are one training set. Labels are joined, missing where a cohort lacks one. A subject who stands in two,
                found by hash or by an equal recording, is never in training of one and in validation or test of the
                other.
            batch_size: Rows per device and batch.
            num_workers: Reading processes per device and split; 0 reads in threads of the training process.
            seed: Of order, crops, augmentation and label subsets.
            shuffle: ``global`` (a new permutation of all rows each epoch), ``shards`` (shards permuted, rows mixed
                within ``window`` of them at a time, for slow disks) or ``none`` (index order).
            pin_memory: Page-locked batches; None means: if the model trains on CUDA.
            start_method: How workers start: ``fork``, ``spawn`` or ``forkserver``; None is the system's choice.
            window: Shards whose rows are mixed with each other under ``shuffle: shards``.
            locking: Whether HDF5 locks a shard while it opens it; null leaves it to HDF5.
            verify_reads: When to compare a record with its checksum (some 0.1 ms): the ``first`` time a process reads
                it, ``always`` or ``never``.
            options: Those of ``CohortDataModule``: which rows.

        Raises:
            UserError: If an option is out of its range or not one of the choices, or two exclude each other.
        """
        super().__init__(root, **options)
        check_choice(SHUFFLES, shuffle=shuffle)
        check_choice(VERIFY_READS, verify_reads=verify_reads)
        check_least(1, batch_size=batch_size, window=window)
        check_least(0, num_workers=num_workers, seed=seed)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.shuffle = shuffle
        self.pin_memory = pin_memory
        self.start_method = start_method
        self.window = window
        self.locking = locking
        self.verify_reads = verify_reads
        self.augmentations: dict[str, Callable | None] = {}
        self._epoch: int | None = None
        self._host_rows: np.ndarray | None = None
        self._drawn_starts: tuple[int, np.ndarray] | None = None
        self._train_loader: PlanLoader | None = None
        self._rows_per_rank: int | None = None
        self._resume: dict[str, int] = {}

    @property
    def train_size(self) -> int:
        """Number of training rows of an epoch over all devices, before a last incomplete global batch is left out."""
        return self._train_sampler(0, 1).size

    @property
    def global_batch(self) -> int:
        """Rows of a training batch over all devices, as they are dealt: fewer than asked for in a small cohort.

        A cohort without training rows, which is only evaluated, has the number asked for.
        """
        _, world = self._place()
        if len(self.index.positions("train", self.modalities)) == 0:
            return self.batch_size * world
        return self._train_sampler(0, world).global_batch

    @property
    def rows_per_rank(self) -> int:
        """Rows of every training batch on one device: a last incomplete global batch is left out."""
        if self._rows_per_rank is None:
            self._rows_per_rank = self._train_sampler(*self._place()).batch_size
        return self._rows_per_rank

    def setup(self, stage: str | None = None) -> None:
        """Load the index, check modalities, crop, windows, labels, leads, and that the stage's splits hold rows."""
        layout = self.index.layout
        for name in self.modalities:
            if getattr(layout, name) is None:
                raise UserError(f"{self.place}: this cohort holds no {name.upper()}")
        if layout.ecg is not None and "ecg" in self.modalities and self.samples > layout.ecg.samples:
            raise UserError(f"samples {self.samples}: the ECGs of {self.place} have only {layout.ecg.samples} samples")
        if layout.ecg is not None:
            check_rates(self.augmentations.get("ecg"), layout.ecg.sampling_rate)
        self.label_values()
        for option in ("evaluation_windows", "train_windows"):
            windows = self._windows(training=option == "train_windows")
            if windows > 1 and layout.ecg is not None:  # there are places for them
                window_starts(layout.ecg.samples, self.samples, windows, option)
        self.lead_choice.check(self.index)
        splits = {"fit": ["train", "val"], "validate": ["val"], "test": ["test"], "predict": [self.predict_split]}
        for split in splits.get(stage or "", []):
            self.rows(split)
        if stage == "fit":
            self._train_sampler(0, 1)  # an epoch can be drawn
            for modality, augmentation in self.augmentations.items():
                if augmentation is not None and modality in self.input_spec:
                    check_own_augmentation(augmentation, self._sizes(modality), f"augmentation of the {modality}")

    def _sizes(self, modality: str) -> tuple[int, ...]:
        """Return the sizes of a recording as an augmentation is given it."""
        spec = self.input_spec[modality]
        if "names" in spec:
            return (len(spec["names"]),)
        return tuple(spec[name] for name in ("leads", "samples", "frames", "height", "width") if name in spec)

    def train_dataloader(self) -> DataLoader:
        """Shuffled, cropped at random, augmented; knows its place in the epoch, which checkpoints keep."""
        loader = self._loader(self._train_sampler(*self._place()), training=True)
        loader.on_other_batches = weakly(self._count_as_done)
        loader.load_state_dict(self._resume)
        self._train_loader, self._rows_per_rank = loader, None
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Return where training stands, a few integers that are the same on every rank, for a checkpoint."""
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's place in its epoch with the next ``train_dataloader``."""
        self._resume = dict(state_dict)

    def _train_sampler(self, rank: int, world_size: int) -> EpochBatchSampler:
        ecg = self.index.layout.ecg
        options = self.training_choice.sampler_options(self.index, self.rows("train"))
        return EpochBatchSampler(
            options.pop("rows"),
            self.batch_size,
            seed=self.seed,
            index_size=len(self.index),
            shuffle=self.shuffle,
            # Several windows are cut out of whole recordings.
            crop_room=0 if ecg is None or self.train_windows > 1 else ecg.samples - self.samples,
            rank=rank,
            world_size=world_size,
            shards=self.index.locate(np.arange(len(self.index)))[:, 0],
            window=self.window,
            **options,
        )

    def _count_as_done(self, batches: int) -> None:
        """Tell the trainer how many batches of the resumed epoch count as done, where their size has changed."""
        if self.trainer is None:
            return
        current = self.trainer.fit_loop.epoch_loop.batch_progress.current
        shift = batches - current.ready
        for name in ("ready", "started", "processed", "completed"):
            setattr(current, name, getattr(current, name) + shift)

    def val_dataloader(self) -> DataLoader:
        """Each row of the validation split once."""
        return self._evaluation_loader("val")

    def training_rows_dataloader(self) -> DataLoader:
        """Each row that is trained on once, read as evaluation reads rows: no augmentation, in index order."""
        return self._evaluation_loader("train")

    def test_dataloader(self) -> DataLoader:
        """Each row of the test split once."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader:
        """Each row of ``predict_split`` once."""
        return self._evaluation_loader(self.predict_split)

    def _evaluation_loader(self, split: str) -> DataLoader:
        return self._loader(EvaluationBatchSampler(self.rows(split), self.batch_size, *self._place()), training=False)

    def _loader(self, sampler: PlanSampler, training: bool) -> PlanLoader:
        pins, workers, ecg = self._pins(), self.num_workers, self.index.layout.ecg
        # Several windows are cut on the device: what they share is read and moved once.
        whole = self._windows(training) > 1
        dataset = ShardBatches(
            self.index,
            sampler,
            self.modalities,
            ecg.samples if whole and ecg is not None else self.samples,
            self.label_values(),
            training,
            locking=self.locking,
            verify_reads=self.verify_reads,
            pinned=pins and workers == 0,
        )
        return PlanLoader(
            dataset,
            batch_size=None,  # the dataset reads whole batches
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pins,
            multiprocessing_context=self.start_method if workers > 0 else None,
            worker_init_fn=outlive_sigterm,
        )

    def _windows(self, training: bool) -> int:
        return self.train_windows if training else self.evaluation_windows

    def _place(self) -> tuple[int, int]:
        """Return (rank, world size)."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _pins(self) -> bool:
        if self.pin_memory is not None:
            return self.pin_memory
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Take the epoch out of the batch and keep its rows, while they are on the host.

        Lightning calls ``on_after_batch_transfer`` for the same batch next.
        """
        result = batch.copy()
        self._epoch = result.pop("epoch", None)
        self._host_rows = result["row"].numpy()
        return result

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make floats, pick leads, cut windows where there are several and, in training, augment; on the device."""
        batch = to_float(batch, self.image_size)
        rows, self._host_rows = self._host_rows, None
        if rows is not None:
            batch["row"] = with_host_copy(batch["row"], rows)
        if "ecg" in batch:
            batch = self.lead_choice.of(batch, self.index)
        if self._epoch is None:
            if "ecg" in batch and self.evaluation_windows > 1:
                batch["ecg"] = cut_windows(batch["ecg"], self.samples, self.evaluation_windows)
            return batch
        if "ecg" in batch and self.train_windows > 1:
            windows = self._training_windows(batch["ecg"], batch["row"], rows).unbind(1)
            augmented = [
                self._augment("ecg", PURPOSE.ecg_augmentation, x, batch["row"], w) for w, x in enumerate(windows)
            ]
            batch["ecg"] = torch.stack(augmented, dim=1)
        elif "ecg" in batch:
            batch["ecg"] = self._augment("ecg", PURPOSE.ecg_augmentation, batch["ecg"], batch["row"])
        if "cmr" in batch:
            batch["cmr"] = self._augment("cmr", PURPOSE.cmr_augmentation, batch["cmr"], batch["row"])
        return batch

    def _training_windows(self, ecg: Tensor, row: Tensor, host_rows: np.ndarray | None) -> Tensor:
        """Cut each recording's windows (B, W, leads, samples), whose starts follow from (seed, epoch, row, window)."""
        room, n, epoch = ecg.shape[-1] - self.samples, len(self.index), self._epoch or 0
        if self._drawn_starts is None or self._drawn_starts[0] != epoch:
            drawn = [crop_starts(n, room, self.seed, epoch, window) for window in range(self.train_windows)]
            self._drawn_starts = epoch, np.stack(drawn, axis=1)
        rows = row.cpu().numpy() if host_rows is None else host_rows
        starts = torch.from_numpy(self._drawn_starts[1][rows]).to(ecg.device, non_blocking=True)
        return cut_windows_at(ecg, self.samples, starts)

    def _augment(self, modality: str, purpose: int, x: Tensor, row: Tensor, window: int = 0) -> Tensor:
        """Augment with draws on x's device that follow from (seed, purpose, epoch, row) and the window alone."""
        augmentation = self.augmentations.get(modality)
        if augmentation is None or self._epoch is None:
            return x
        key = (self.seed, purpose, self._epoch, *window_key(window))
        return augmentation(x, RowGenerator(row, *key, device=x.device))
