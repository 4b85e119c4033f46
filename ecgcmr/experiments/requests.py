"""What a worker process of an experiment is asked to do, as plain data that goes through a pipe.

Every request leaves its result in the experiment's folder under a fingerprint, where whoever asks again finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ecgcmr.experiments.baseline_methods import BOOSTING, Baselines
from ecgcmr.experiments.borrowing import borrow
from ecgcmr.experiments.features import (
    CLASSICAL_FOLDER,
    classical_features,
    classical_fingerprint,
    encoder_features,
    encoder_fingerprint,
    encoder_layers,
    image_features,
    layer_fingerprint,
)
from ecgcmr.experiments.methods import Floats, Problem
from ecgcmr.experiments.stage_runs import StageRun, is_complete, is_finished, run_stage
from ecgcmr.shards import ShardIndex


class Request(Protocol):
    """Work that can be sent to a process: a frozen dataclass of plain data, and its name for people."""

    @property
    def name(self) -> str:
        """For messages, the log and the times."""
        ...

    @property
    def key(self) -> str:
        """Fingerprint of the result: of two requests with one key, the second waits for the first."""
        ...

    def is_done(self) -> bool:
        """Return whether the result is there, after it has been taken over from elsewhere if it can be."""
        ...

    def carry_out(self) -> None:
        """Do it, unless it is finished."""
        ...

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        ...

    @classmethod
    def of_plain(cls, fields: Mapping[str, Any]) -> Self:
        """Make the request of what ``plain`` gave."""
        ...


@dataclass(frozen=True)
class TrainRequest:
    """Fit a stage or a downstream run, and predict.

    Attributes:
        run: What is run.
        predict: Splits, see ``run_stage``.
        lenders: Folders of runs that may have done the same.
    """

    run: StageRun
    predict: tuple[str, ...] = ()
    lenders: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the run."""
        return self.run.name

    @property
    def key(self) -> str:
        """Fingerprint of the run."""
        return self.run.fingerprint

    def is_done(self) -> bool:
        """Return whether the run is finished, here or where it can be taken over from."""
        if is_complete(self.run, self.predict):
            return True
        lent = borrow(self.run.folder, self.key, map(Path, self.lenders))
        return lent and is_complete(self.run, self.predict)

    def carry_out(self) -> None:
        """Run the stage."""
        run_stage(self.run, predict=self.predict)

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        run = {**asdict(self.run), "folder": str(self.run.folder), "config": str(self.run.config)}
        return {"run": run, "predict": list(self.predict), "lenders": []}

    @classmethod
    def of_plain(cls, fields: Mapping[str, Any]) -> Self:
        """Make the request of what ``plain`` gave."""
        run = fields["run"]
        stage = StageRun(**{**run, "folder": Path(run["folder"]), "config": Path(run["config"])})
        return cls(stage, tuple(fields["predict"]))


@dataclass(frozen=True)
class FeaturesRequest:
    """Compute the features of all ECGs of a cohort, or of all its images.

    Attributes:
        root: The cohort.
        cache: Folder that keeps them.
        encoder: Folder of an encoder; None: classical features.
        windows: Of each recording, whose features are averaged.
        trusted: Classes beside this package's that the encoder may be of.
        lenders: Folders of features that may be the same.
        layers: Whether each layer of the encoder is read, in place of what it pools.
        images: Whether the encoder reads images.
    """

    root: str
    cache: str
    encoder: str | None = None
    windows: int = 1
    trusted: tuple[str, ...] = ()
    lenders: tuple[str, ...] = ()
    layers: bool = False
    images: bool = False

    @property
    def name(self) -> str:
        """Of the encoder."""
        return f"features of {Path(self.cache).name}"

    @property
    def key(self) -> str:
        """Fingerprint of the features."""
        index, rows = self._cohort()
        if self.encoder is None:
            return classical_fingerprint(index, rows)
        recognise = layer_fingerprint if self.layers else encoder_fingerprint
        return recognise(Path(self.encoder), index, rows, 1 if self.images else self.windows)

    def _cohort(self) -> tuple[ShardIndex, NDArray[np.int64]]:
        index = ShardIndex.load(Path(self.root))
        return index, index.positions(None, ("cmr",) if self.images else ("ecg",))

    def is_done(self) -> bool:
        """Return whether the features are kept, here or where they can be taken over from."""
        cache = Path(self.cache)
        return is_finished(cache, self.key) or borrow(cache, self.key, map(Path, self.lenders))

    def carry_out(self) -> None:
        """Compute them."""
        (index, rows), cache = self._cohort(), Path(self.cache)
        if self.encoder is None:
            classical_features(index, rows, cache, workers=1)
        elif self.images:
            image_features(Path(self.encoder), index, rows, cache, self.trusted)
        else:
            compute = encoder_layers if self.layers else encoder_features
            compute(Path(self.encoder), index, rows, cache, self.windows, self.trusted)

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return asdict(self)

    @classmethod
    def of_plain(cls, fields: Mapping[str, Any]) -> Self:
        """Make the request of what ``plain`` gave."""
        return cls(**{**fields, "trusted": tuple(fields["trusted"]), "lenders": ()})


@dataclass(frozen=True)
class BoostingRequest:
    """Fit gradient boosting on classical features for one task and number of labels; the features must be there.

    Attributes:
        root: The cohort.
        out: Folder of the experiment.
        task: Name of the task.
        kind: A key of ``TASKS``.
        targets: As the plan names them.
        cohort: Fingerprint of the cohort.
        count: Labelled training recordings.
        seed: Of their choice.
        lenders: Folders of outcomes that may be the same.
        classical: Name of the folder that keeps the cohort's classical features.
    """

    root: str
    out: str
    task: str
    kind: str
    targets: tuple[str, ...]
    cohort: str
    count: int
    seed: int
    lenders: tuple[str, ...] = ()
    classical: str = CLASSICAL_FOLDER

    @property
    def name(self) -> str:
        """Task, number and seed."""
        return f"boosting of {self.task}, {self.count} labels, seed {self.seed}"

    @property
    def key(self) -> str:
        """Fingerprint of the outcome."""
        return self._place()[1]

    def is_done(self) -> bool:
        """Return whether the outcome is kept, here or where it can be taken over from."""
        folder, fingerprint = self._place()
        return is_finished(folder, fingerprint) or borrow(folder, fingerprint, map(Path, self.lenders))

    def carry_out(self) -> None:
        """Fit and predict."""
        baselines, problem, features = self._given()
        baselines.boosted(problem, features, self.count, self.seed)

    def _place(self) -> tuple[Path, str]:
        baselines, problem, features = self._given()
        return baselines.place_of_boosted(problem, features, self.count, self.seed)

    def _given(self) -> tuple[Baselines, Problem, Floats]:
        index = ShardIndex.load(Path(self.root))
        problem = Problem.of(self.task, self.kind, list(self.targets), index)
        baselines = Baselines(index, Path(self.out), 1, self.cohort, self.classical)
        return baselines, problem, baselines.features(BOOSTING, problem)

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return asdict(self)

    @classmethod
    def of_plain(cls, fields: Mapping[str, Any]) -> Self:
        """Make the request of what ``plain`` gave."""
        return cls(**{**fields, "targets": tuple(fields["targets"]), "lenders": ()})


KINDS: dict[str, type[TrainRequest] | type[FeaturesRequest] | type[BoostingRequest]] = {
    kind.__name__: kind for kind in (TrainRequest, FeaturesRequest, BoostingRequest)
}
"""Name -> class of what may come through the pipe."""
