"""What all data modules share: rows of a split -> sampler -> loader -> floats and augmentation on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from data_modules.batch import Batch, to_float
from data_modules.dataset import VERIFY_READS, ShardBatches
from data_modules.leads import LeadChoice
from data_modules.loader import PlanLoader, outlive_sigterm, weakly
from data_modules.samplers import EpochBatchSampler, EvaluationBatchSampler, PlanSampler
from data_modules.sampling import PURPOSE, SHUFFLES, WINDOW, crop_starts, window_key
from data_modules.training_rows import TrainingChoice
from ecgcmr.augmentations.sampling_rates import check_rates
from ecgcmr.errors import UserError
from ecgcmr.option_checks import check_choice, check_least
from ecgcmr.row_random import RowGenerator, with_host_copy
from ecgcmr.shards.index import ShardIndex, read_labels
from ecgcmr.shards.joint_index import JointIndex, leaks_into, open_cohorts, without_rows
from ecgcmr.shards.layout import SPLITS
from ecgcmr.shards.same_recordings import not_comparable
from ecgcmr.windows import cut_windows, cut_windows_at, window_starts

ALL = "all"
"""In place of a split: rows of every split."""


class ShardDataModule(LightningDataModule):
    """Streams a cohort of shards. Subclasses say which modalities a row must have.

    A batch is a ``data_modules.batch.Batch``. The global batches of training, one after the other, follow from the
    rows, the seed, the epoch and the global batch size; crops and augmentation from the seed, the epoch and the row.
    Workers, ranks and interruptions change nothing. Validation, test and prediction go through each row once, in index
    order, from sample 0 or in several windows, without augmentation.

    Attributes:
        roots: Folders of the cohorts, of which ``root`` is the first.
        modalities: What a row must have and a batch holds.
        label_names: Labels in a batch, in the order of its columns; empty for none.
        covariate_names: Labels that a model is given beside its input; empty for none.
        diseases: Whose time to event is the target; empty for other targets.
        balanced_label: The 0/1 label that half of each epoch's rows have, or None.
        image_size: Rows and columns of the frames in a batch; None keeps the stored ones.
        evaluation_windows: Windows of each ECG in validation, test and prediction; of more than one its batches hold
            (B, windows, leads, samples).
        train_windows: The same in training.
        augmentations: Per modality ``augmentation(x, generator) -> x``, called on a training batch on the device with a
            ``RowGenerator``.
    """

    modalities: ClassVar[tuple[str, ...]] = ("ecg",)
    image_size: int | None = None
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
        samples: int = 2500,
        labels: list[str] | None = None,
        pin_memory: bool | None = None,
        start_method: str | None = None,
        predict_split: str = "test",
        selection: str | None = None,
        min_quality: float | None = None,
        balance: str | None = None,
        window: int = WINDOW,
        locking: bool | None = False,
        verify_reads: str = "first",
        leads: list[str] | None = None,
        leave_out_leads: list[str] | None = None,
        weight: str | None = None,
        epoch_rows: int | None = None,
        weights: list[float] | None = None,
        apart_from: list[str] | None = None,
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
            samples: ECG samples per lead; a random crop in training, the first ones otherwise.
            labels: Names of labels to put into a batch.
            pin_memory: Page-locked batches; None means: if the model trains on CUDA.
            start_method: How workers start: ``fork``, ``spawn`` or ``forkserver``; None is the system's choice.
            predict_split: Split that ``predict`` goes through; ``all`` is every row of all three, trained on or not.
            selection: Train on this named selection of the index alone, such as ``train_10pct``.
            min_quality: Train on ECGs alone whose label ``signal_quality`` (0 to 1, NaN counts as 0) is at least this.
            balance: A 0/1 label; every epoch then holds as many rows with as without it, each at most once. The larger
                class takes turns over the epochs.
            window: Shards whose rows are mixed with each other under ``shuffle: shards``.
            locking: Whether HDF5 locks a shard while it opens it; null leaves it to HDF5.
            verify_reads: When to compare a record with its checksum (some 0.1 ms): the ``first`` time a process reads
                it, ``always`` or ``never``.
            leads: Names of the leads that a batch holds, in this order, such as ``[I, II, V1]``; None is all. The
                encoder then has as many ``leads``, and their places among the twelve as ``lead_rows``.
            leave_out_leads: Any of ``missing``, ``derived``, ``flat``, ``clipped``, ``noisy``: leads of a record that
                are marked so in the cohort stay in the batch, but its ``lead_mask`` tells the encoder to leave them
                out. A record without any other lead is left out whole, in every split.
            weight: A label that is not negative, such as a sampling weight. Every epoch then draws ``epoch_rows`` rows
                without replacement, in proportion to it; rows where it is 0 or missing take no part.
            epoch_rows: Training rows of an epoch over all devices, drawn anew each time; evenly without ``weight``.
                None goes through all.
            weights: Of each cohort under ``root``: in what proportion an epoch takes rows of them, such as ``[3, 1]``;
                the rows of each take turns over the epochs. Without ``epoch_rows`` an epoch is as long as it can be
                without a row twice. None takes all rows of all.
            apart_from: Folders of other cohorts, on which a model will be judged: rows of subjects who stand in their
                validation or test split, found likewise, are left out.

        Raises:
            UserError: If an option is out of its range or not one of the choices, or two exclude each other.
        """
        super().__init__()
        check_choice(SHUFFLES, shuffle=shuffle)
        check_choice(VERIFY_READS, verify_reads=verify_reads)
        check_choice((*SPLITS, ALL), predict_split=predict_split)
        check_least(1, batch_size=batch_size, samples=samples, window=window)
        check_least(0, num_workers=num_workers, seed=seed)
        self.roots = [Path(each) for each in root] if isinstance(root, list) else [Path(root)]
        self.root = self.roots[0] if self.roots else Path()
        self.apart_from = [Path(each) for each in apart_from or []]
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.shuffle = shuffle
        self.samples = samples
        self.label_names = list(labels or [])
        self.pin_memory = pin_memory
        self.start_method = start_method
        self.predict_split = predict_split
        self.window = window
        self.locking = locking
        self.verify_reads = verify_reads
        self.leads = leads
        self.leave_out_leads = list(leave_out_leads or [])
        self._lead_choice = LeadChoice(self.leads, self.leave_out_leads)
        self._training_choice = TrainingChoice(selection, min_quality, balance, weight, epoch_rows, weights)
        if weights is not None and len(weights) != len(self.roots):
            raise UserError(
                f"weights has {len(weights)} entries; it needs one for each cohort of root, {len(self.roots)}"
            )
        self.balanced_label = balance
        self.augmentations: dict[str, Callable | None] = {}
        self._index: ShardIndex | None = None
        self._labels: np.ndarray | None = None
        self._rows: dict[str, np.ndarray] = {}
        self._epoch: int | None = None
        self._host_rows: np.ndarray | None = None
        self._drawn_starts: tuple[int, np.ndarray] | None = None
        self._train_loader: PlanLoader | None = None
        self._rows_per_rank: int | None = None
        self._resume: dict[str, int] = {}

    @property
    def place(self) -> str:
        """Where the cohort lies, or all of them, for messages."""
        return " + ".join(map(str, self.roots))

    @property
    def index(self) -> ShardIndex:
        """The index of the cohort, or of all of them as one, read on first use."""
        if self._index is None:
            index = open_cohorts(self.roots)
            if isinstance(index, JointIndex) and index.shared:
                rank_zero_info(
                    f"note: {index.shared:,} subjects stand in several of the cohorts; {len(index.left_out):,} rows of "
                    "theirs are left out"
                )
            judges = [ShardIndex.load(root) for root in self.apart_from]
            self._say_what_is_not_found([*(index.members if isinstance(index, JointIndex) else (index,)), *judges])
            if judges:
                leaks = leaks_into(index, judges)
                rank_zero_info(f"note: {len(leaks):,} rows are left out, for their subjects stand in data.apart_from")
                index = without_rows(index, leaks)
            self._index = index
        return self._index

    def _say_what_is_not_found(self, cohorts: Sequence[ShardIndex]) -> None:
        for number in not_comparable(cohorts):
            rank_zero_info(
                f"note: {cohorts[number].root} stores recordings in another length or type, or prepared otherwise, "
                "than the other cohorts; a person in both is found by hash, perhaps not by recording"
            )

    @property
    def input_spec(self) -> dict[str, dict[str, Any]]:
        """What an encoder is fed: ``ecg`` (leads, sampling_rate in Hz, samples), ``cmr`` (frames, height, width).

        With a subset of the leads ``ecg`` has ``lead_rows`` too, their places among the standard twelve.
        """
        spec: dict[str, dict[str, Any]] = {}
        ecg, cmr = self.index.layout.ecg, self.index.layout.cmr
        if "ecg" in self.modalities and ecg is not None:
            shape = {"sampling_rate": ecg.sampling_rate, "samples": self.samples}
            spec["ecg"] = self._lead_choice.specification(ecg) | shape
        if "cmr" in self.modalities and cmr is not None:
            height, width = (self.image_size or cmr.height), (self.image_size or cmr.width)
            spec["cmr"] = {"frames": len(cmr.frames), "height": height, "width": width}
        return spec

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

    def rows(self, split: str) -> np.ndarray:
        """Return the positions (k,) int64 in the index that a split's loader goes through.

        Raises:
            UserError: If there are none.
        """
        if split not in self._rows:
            rows = self.select(split)
            if len(rows) == 0:
                wanted = " and ".join(name.upper() for name in self.modalities)
                where = "no split holds a" if split == ALL else f"the {split} split holds no"
                raise UserError(f"{self.place}: {where} row with {wanted}")
            self._rows[split] = rows
        return self._rows[split]

    def select(self, split: str) -> np.ndarray:
        """Return the positions of a split's rows that have what this data module needs; may be empty.

        In ``train`` they belong to the selection and have quality and weight as asked for; evaluation always covers its
        split, and ``all`` every row.
        """
        rows = self._lead_choice.keep(self.index, self._positions(split, self.modalities))
        return self._training_choice.keep(self.index, rows) if split == "train" else rows

    def _positions(self, split: str, need: Sequence[str]) -> np.ndarray:
        return self.index.positions(None if split == ALL else split, need)

    def label_values(self) -> np.ndarray | None:
        """Return the labels asked for, (rows of the index, L) float32, read once; None if none were asked for."""
        if self._labels is None and self.label_names:
            self._labels = read_labels(self.index, self.label_names, np.arange(len(self.index)))
        return self._labels

    def label_statistics(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (len(names),) float32 each, of the training split's known values.

        A label of 0 and 1 has its prevalence p as mean and sqrt(p (1 - p)) as deviation. Where all values are equal
        the deviation is given as 1, so that standardising yields 0.

        Raises:
            UserError: If a name is unknown or a label has no value in the training split.
        """
        means, deviations = [], []
        self.index.label_columns(names)
        for name in names:
            entry = self.index.statistics[name]
            if not entry["n"]:
                raise UserError(f"label {name!r} has no value in the training split; leave it out")
            mean = entry["positives"] / entry["n"] if "positives" in entry else entry["mean"]
            deviation = (mean * (1 - mean)) ** 0.5 if "positives" in entry else entry["std"]
            means.append(mean)
            deviations.append(deviation if deviation > 0 else 1.0)
        return torch.tensor(means), torch.tensor(deviations)

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
        self._lead_choice.check(self.index)
        splits = {"fit": ["train", "val"], "validate": ["val"], "test": ["test"], "predict": [self.predict_split]}
        for split in splits.get(stage or "", []):
            self.rows(split)
        if stage == "fit":
            self._train_sampler(0, 1)  # an epoch can be drawn

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
        options = self._training_choice.sampler_options(self.index, self.rows("train"))
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
            batch = self._lead_choice.of(batch, self.index)
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
