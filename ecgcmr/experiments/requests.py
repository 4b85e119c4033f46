"""What a worker process of an experiment is asked to do, as plain data that goes through a pipe.

Every request leaves its result in the experiment's folder under a fingerprint, where whoever asks again finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from ecgcmr.experiments.stage_runs import StageRun, run_stage
from ecgcmr.shards import ShardIndex


class Request(Protocol):
    """Work that can be sent to a process: a frozen dataclass of plain data, and its name for people."""

    @property
    def name(self) -> str:
        """For messages, the log and the times."""
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
    """

    run: StageRun
    predict: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the run."""
        return self.run.name

    def carry_out(self) -> None:
        """Run the stage."""
        run_stage(self.run, predict=self.predict)

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        run = {**asdict(self.run), "folder": str(self.run.folder), "config": str(self.run.config)}
        return {"run": run, "predict": list(self.predict)}

    @classmethod
    def of_plain(cls, fields: Mapping[str, Any]) -> Self:
        """Make the request of what ``plain`` gave."""
        run = fields["run"]
        stage = StageRun(**{**run, "folder": Path(run["folder"]), "config": Path(run["config"])})
        return cls(stage, tuple(fields["predict"]))


@dataclass(frozen=True)
class FeaturesRequest:
    """Compute the features of all ECGs of a cohort.

    Attributes:
        root: The cohort.
        cache: Folder that keeps them.
        encoder: Folder of an encoder; None: classical features.
        windows: Of each recording, whose features are averaged.
        trusted: Classes beside this package's that the encoder may be of.
    """

    root: str
    cache: str
    encoder: str | None = None
    windows: int = 1
    trusted: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the encoder."""
        return f"features of {Path(self.cache).name}"

    def carry_out(self) -> None:
        """Compute them."""
        from ecgcmr.experiments.features import classical_features, encoder_features

        index, cache = ShardIndex.load(Path(self.root)), Path(self.cache)
        rows = index.positions(None, ("ecg",))
        if self.encoder is None:
            classical_features(index, rows, cache, workers=1)
        else:
            encoder_features(Path(self.encoder), index, rows, cache, self.windows, self.trusted)

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {**asdict(self), "trusted": list(self.trusted)}

    @classmethod
    def of_plain(cls, fields: Mapping[str, Any]) -> Self:
        """Make the request of what ``plain`` gave."""
        return cls(**{**fields, "trusted": tuple(fields["trusted"])})


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
        count: Labelled training subjects.
        seed: Of their choice.
    """

    root: str
    out: str
    task: str
    kind: str
    targets: tuple[str, ...]
    cohort: str
    count: int
    seed: int

    @property
    def name(self) -> str:
        """Task, number and seed."""
        return f"boosting of {self.task}, {self.count} labels, seed {self.seed}"

    def carry_out(self) -> None:
        """Fit and predict."""
        from ecgcmr.experiments.baseline_methods import BOOSTING, Baselines
        from ecgcmr.experiments.methods import Problem

        index = ShardIndex.load(Path(self.root))
        problem = Problem.of(self.task, self.kind, list(self.targets), index)
        baselines = Baselines(index, Path(self.out), 1, self.cohort)
        baselines.boosted(problem, baselines.features(BOOSTING, problem), self.count, self.seed)

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-able data."""
        return {**asdict(self), "targets": list(self.targets)}

    @classmethod
    def of_plain(cls, fields: Mapping[str, Any]) -> Self:
        """Make the request of what ``plain`` gave."""
        return cls(**{**fields, "targets": tuple(fields["targets"])})


KINDS: dict[str, type[TrainRequest] | type[FeaturesRequest] | type[BoostingRequest]] = {
    kind.__name__: kind for kind in (TrainRequest, FeaturesRequest, BoostingRequest)
}
"""Name -> class of what may come through the pipe."""
