"""What a stage and a DataModule must be to each other and to a fit; checked before anything is read or trained.

The stages and DataModules of this project meet these contracts, and any that does works with ``ecgcmr fit`` by its
``class_path``; there is nothing to inherit from. What is missing is refused in one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from torch import Tensor

from ecgcmr.contracts import lacking, members
from ecgcmr.errors import UserError
from ecgcmr.shards.index import ShardIndex

NO_TARGETS = ("pre-training", "alignment")
"""Tasks whose labels are probed, and no part of what is learned or predicted."""


class Stage(Protocol):
    """A LightningModule that says what it learns, which epoch is its best and what it hands on.

    Before its ``setup`` it is given ``accept_other_preparation`` and ``loads_checkpoint``, which ``start_from`` asks
    for. Its ``predict_step`` returns a mapping of ``row``, ``valid``, ``prediction`` (B, ...) and ``finite`` (B,).
    """

    @property
    def task(self) -> str:
        """What is learned: pre-training, alignment, or of labels regression, classification, time to event."""

    @property
    def monitor(self) -> str:
        """Name of the logged number of validation that picks best.ckpt, such as val/loss."""

    @property
    def mode(self) -> str:
        """Min or max, whichever of the monitored number is best."""

    @property
    def exports(self) -> Mapping[str, str]:
        """Folder -> attribute of each encoder that it hands on; the folder encoder is the run folder itself."""

    @property
    def takes_lead_mask(self) -> bool:
        """Whether it hands a batch's lead_mask on to its encoder."""

    @property
    def takes_windows(self) -> bool:
        """Whether it takes several windows of a recording, (B, windows, leads, samples)."""


class DemandingStage(Protocol):
    """A stage that asks more of its encoders than the contract of every encoder."""

    @property
    def encoder_contracts(self) -> Mapping[str, type]:
        """Argument of each such encoder -> Protocol that it must meet."""


class StageData(Protocol):
    """A LightningDataModule over a prepared cohort.

    Its batches are mappings with ``row`` (B,) int64, the position in the index; ``ecg``, ``cmr`` or both; in evaluation
    ``valid`` (B,) bool; and ``labels`` (B, L) where there are ``label_names``. See ``data_modules.batch.Batch``.
    """

    @property
    def root(self) -> Path:
        """Folder of the cohort."""

    @property
    def index(self) -> ShardIndex:
        """An ecgcmr.shards.ShardIndex of the cohort."""

    @property
    def input_spec(self) -> Mapping[str, Mapping[str, Any]]:
        """Modality -> what an encoder is fed, as ShardDataModule and MeasuredDataModule describe it."""

    @property
    def batch_size(self) -> int:
        """Rows of a batch on one device."""

    @property
    def global_batch(self) -> int:
        """Rows of a training batch over all devices, as they are dealt."""

    @property
    def train_size(self) -> int:
        """Training rows of an epoch over all devices."""

    @property
    def predict_split(self) -> str:
        """Split that predict goes through, or all for every row."""

    @property
    def label_names(self) -> Sequence[str]:
        """Labels in the order of a batch's columns, empty for none."""

    @property
    def covariate_names(self) -> Sequence[str]:
        """Labels that are given beside the input, empty for none."""

    @property
    def diseases(self) -> Sequence[str]:
        """Diseases whose time to event is the target, empty for other targets."""

    @property
    def leads(self) -> Sequence[str] | None:
        """Names of the leads in a batch, None for all."""

    @property
    def leave_out_leads(self) -> Sequence[str]:
        """Marks whose leads are false in a batch's lead_mask, empty for no lead_mask."""

    @property
    def evaluation_windows(self) -> int:
        """Windows of a recording in evaluation, 1 for the recording as the encoder takes it."""

    def rows(self, split: str) -> np.ndarray:
        """Return the positions in the index (k,) that the loader of a split goes through."""

    def label_statistics(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return mean and deviation (L,) of labels, by name, in the training rows."""


class LabelledData(StageData, Protocol):
    """What a classification asks for: labels as they are, and whether rows are balanced by one of them."""

    @property
    def balanced_label(self) -> str | None:
        """Label whose two classes are balanced in an epoch, None for none."""

    def label_values(self) -> np.ndarray | None:
        """Return the labels (rows of the index, L) float32, None for none."""


class CovariateData(StageData, Protocol):
    """What a stage asks for that is given covariates."""

    def covariate_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and deviation (C,) of the covariates in the training rows."""


class MeasuredData(StageData, Protocol):
    """What an alignment with measurements asks for."""

    def measurement_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and deviation (M,) of the measurements in the training rows."""


class ProbedData(StageData, Protocol):
    """What a head asks for that starts at the solution of a probe."""

    def training_rows_dataloader(self) -> Iterable[Any]:
        """Return a loader of the rows that are trained on, read as in evaluation, each once and in index order."""

    def val_dataloader(self) -> Iterable[Any]:
        """Return a loader of the validation rows."""


class TaughtData(StageData, Protocol):
    """Says how many of the rows that are trained on have labels of their own; the others are labelled by a teacher."""

    @property
    def labelled_size(self) -> int:
        """Rows with labels of their own."""


class FollowUpData(StageData, Protocol):
    """What a time to event asks for."""

    def label_values(self) -> np.ndarray:
        """Return which events happened (rows of the index, K) float32."""

    def training_follow_up(self) -> tuple[Tensor, Tensor]:
        """Return years and events (N, K) of the training rows."""


@runtime_checkable
class TrainsOnWindows(Protocol):
    """A DataModule that can give several windows of a recording in training too."""

    @property
    def train_windows(self) -> int:
        """Windows of a recording in training, 1 for the recording as the encoder takes it."""


@runtime_checkable
class DealsEqually(Protocol):
    """A DataModule whose training batches hold equally many rows on every rank, so that nothing has to count them."""

    @property
    def rows_per_rank(self) -> int:
        """Rows of every training batch on one rank."""


class CroppedData(StageData, Protocol):
    """What R peaks stored with a recording ask for: where a training crop began."""

    @property
    def samples(self) -> int:
        """ECG samples per lead in a batch."""

    @property
    def seed(self) -> int:
        """Seed of the crops."""


def stage_data(trainer: Any) -> StageData:
    """Return the DataModule of a trainer: the one place that asks for it.

    Raises:
        UserError: It has none.
    """
    if trainer.datamodule is None:
        raise UserError("a stage needs to know its data: give the trainer a DataModule, not dataloaders")
    return cast(StageData, trainer.datamodule)


def require_data(data: object, contract: type = StageData, of_what: str = "a stage") -> Any:
    """Return a DataModule if it meets a contract.

    Args:
        data: The DataModule; nothing of it is read.
        contract: ``StageData`` or a Protocol that extends it.
        of_what: Who asks for it, for the message.

    Raises:
        UserError: Members are missing; the message says what they must be.
    """
    require_members(data, contract, f"a DataModule for {of_what}")
    return data


def require_members(candidate: object, contract: type, kind: str) -> None:
    """Raise UserError if a candidate, or class, lacks members of a contract; the message says what they must be."""
    missing = lacking(candidate, contract)
    if missing:
        wanted = members(contract)
        texts = "; ".join(f"{name} ({wanted[name]})" for name in missing)
        name = candidate.__name__ if isinstance(candidate, type) else type(candidate).__name__
        raise UserError(f"{name} is not {kind}: it lacks {texts}")
