"""Fine-tuning within an experiment: downstream runs from an encoder's weights or from random ones.

The labelled subjects are those that the linear probe of the same seed sees.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.config_pieces import read_config
from ecgcmr.encoders.card_checks import check_trusted
from ecgcmr.encoders.weights import CARD_FILE, read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.evaluation.finite_values import require_predictions
from ecgcmr.evaluation.methods import ATTENTION_PROBE as ATTENTION
from ecgcmr.evaluation.methods import TAUGHT
from ecgcmr.evaluation.prediction_table import read_prediction_table
from ecgcmr.experiments.chain import encoder_for_task
from ecgcmr.experiments.methods import Floats, Outcome, Problem, lesson_note
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.stage_runs import StageRun, run_stage
from ecgcmr.experiments.tuning_notes import budget_end, tuning_notes
from ecgcmr.npz_file import read_npz
from ecgcmr.shards import ShardIndex
from ecgcmr.shards.label_choice import EVENT
from ecgcmr.training.prediction_tables import FILE
from ecgcmr.yaml_file import mapping_at

_MARKS = {ATTENTION: "@attention", TAUGHT: "@taught"}
OF_ATTENTION = {
    "model.protocol": ATTENTION,
    "model.optimiser.lr": 1.0e-3,
    "model.optimiser.layer_decay": 1.0,
    "search": None,
}
"""What holds over a task's config where an attention pooling over frozen tokens is trained."""


def trained_as(method: str, protocol: str) -> str:
    """Return the name, in runs, of a method that is trained under a protocol."""
    return f"{method}{_MARKS.get(protocol, '')}"


def method_and_protocol(trained: str) -> tuple[str, str]:
    """Return what ``trained_as`` made a name of."""
    for protocol, mark in _MARKS.items():
        if trained.endswith(mark):
            return trained.removesuffix(mark), protocol
    return trained, "finetune"


def _targets(problem: Problem) -> dict[str, Any]:
    """Return the override that names a problem's targets to the data module."""
    names = [label.name for label in problem.labels]
    if not problem.task.followed:
        return {"data.labels": names}
    return {"data.diseases": [name.removesuffix(EVENT.format("")) for name in names]}


def teacher_table(out: Path, run: str) -> Path:
    """Return where what a teacher says to a taught run lies, in an experiment's folder."""
    return out / "features" / f"{run}-teacher" / FILE


def _lesson_notes(run: StageRun) -> list[str]:
    """Return the note on what a teacher gave a run, which holds the true labels beside; none without a teacher."""
    table = run.overrides.get("data.pseudo_labels")
    if table is None:
        return []
    known = read_prediction_table(Path(table)).groupby(["subject", "recording"], observed=True)["truth"].count()
    return [lesson_note(int((known == 0).sum()), int(run.overrides["data.train_labels"]))]


def run_name(plan: Plan, task: str, method: str, count: int | str, seed: int, part: str = "") -> str:
    """Return the name of a downstream run and of its folder below ``stages``.

    Args:
        plan: The experiment.
        task: Name of the task.
        method: What is trained.
        count: Labelled training recordings, or the entry of ``labels`` as long as the cohort is not known.
        seed: Left out of the name where it is the plan's own.
        part: The target or group that has a model of its own.
    """
    amount = str(count).replace(" ", "")
    return "-".join([task, method, amount, *([part] if part else []), *([f"s{seed}"] if seed != plan.seed else [])])


def network_of(folder: Path, trusted: Collection[str] = ()) -> dict[str, Any]:
    """Return class path and arguments of the encoder of a run folder; the fit that is given them imports the class.

    Raises:
        UserError: The class is none of this package's encoders and not trusted.
    """
    card = read_encoder_card(folder)
    check_trusted(card.class_path, trusted, folder / CARD_FILE, "name {class_path} in the config of a stage")
    return {"class_path": card.class_path, "init_args": card.init_args}


@dataclass(frozen=True)
class Piece:
    """One downstream run of a method.

    Attributes:
        name: The target or group that has a model of its own; "" where one model predicts all.
        columns: Which targets of the whole problem it predicts.
        problem: Of these targets.
        empty: Columns of ``problem`` that cannot be learnt -> reason.
        run: The run; None where nothing can be learnt.
        predict: Splits that it predicts.
    """

    name: str
    columns: list[int]
    problem: Problem
    empty: dict[int, str]
    run: StageRun | None
    predict: tuple[str, ...]


@dataclass(frozen=True)
class FineTuning:
    """Fine-tunes encoders, or trains networks from random weights.

    Attributes:
        plan: The experiment file.
        index: The cohort.
        out: Folder of the experiment.
        cohort: Fingerprint of the cohort.
        encoders: Stage, or ``random`` -> folder of its encoder.
        fingerprints: Stage -> its fingerprint.
        trusted: Classes beside this package's encoders that the plan's configs name.
        show: Prints a line.
    """

    plan: Plan
    index: ShardIndex
    out: Path
    cohort: str
    encoders: Mapping[str, Path]
    fingerprints: Mapping[str, str]
    trusted: Collection[str] = ()
    show: Callable[[str], None] = print

    def outcome(self, problem: Problem, method: str, count: int, seed: int) -> Outcome:
        """Train a method on ``count`` labelled subjects, in one model or several, and predict the test split.

        Args:
            problem: What is predicted.
            method: ``scratch``, a supervised network, a stage or a given encoder, as ``trained_as`` names it.
            count: Labelled training recordings; fewer where fewer have a label of a model's own targets.
            seed: Of the choice of subjects, the head, the order of batches and random weights.
        """
        width = len(problem.labels)
        prediction = np.full((len(problem.part("test")), width), np.nan)
        validation = np.full((len(problem.part("val")), width), np.nan)
        notes: list[str] = []
        ended = [""] * width
        for piece in self.pieces(problem, method, count, seed):
            part, columns = piece.problem, piece.columns
            if piece.run is None:
                notes += part.named(piece.empty)
                continue
            folder = piece.run.folder
            several = f", {folder.name}" if piece.name or seed != self.plan.seed else ""
            self.show(f"fine-tuning: {method}, {count} labels{several}")
            if not run_stage(piece.run, predict=piece.predict):
                self.show("  finished earlier")
            own_notes = [*_lesson_notes(piece.run), *tuning_notes(folder)]
            notes += [f"{piece.name}: {note}" if piece.name else note for note in own_notes]
            for column in columns:
                ended[column] = budget_end(folder)
            prediction[:, columns] = self._read(folder / "predictions.npz", part, "test")
            if "val" in piece.predict:
                validation[:, columns] = self._read(folder / "predictions_val.npz", part, "val")
            # A model of several gives a number for a target that it had nothing to learn of; a probe does not, and
            # means over targets are to be of the same ones.
            without = [columns[k] for k in piece.empty]
            prediction[:, without] = validation[:, without] = np.nan
            notes += part.named(piece.empty)
        validated = "val" in self._predicted(problem, method)
        return Outcome(prediction, validation if validated else None, notes, tuple(ended))

    def _predicted(self, problem: Problem, method: str) -> tuple[str, ...]:
        """Return the splits that a method predicts: validation too where thresholds or references are chosen on it."""
        judged = problem.task.binary or method in self.plan.evaluation.against
        return ("val", "test") if judged else ("test",)

    def pieces(self, problem: Problem, method: str, count: int, seed: int) -> Iterator[Piece]:
        """Give the downstream runs of a method; its encoder's folder must be there. Arguments as of ``outcome``."""
        task = self.plan.evaluation.tasks[problem.name]
        predict = self._predicted(problem, method)
        for name, columns in problem.columns_of(task.separately).items():
            part = problem.only(columns)
            own = min(count, len(part.training(None)))
            empty = part.unlearnable(part.training(own, seed) if own else np.empty(0, dtype=np.intp))
            learnable = len(empty) < len(columns)
            folder = self.out / "stages" / run_name(self.plan, problem.name, method, count, seed, name)
            run = self._run(part, method, own, seed, folder) if learnable else None
            yield Piece(name, columns, part, empty, run, predict)

    def _run(self, problem: Problem, trained: str, count: int, seed: int, folder: Path) -> StageRun:
        evaluation, (method, protocol) = self.plan.evaluation, method_and_protocol(trained)
        task, network = evaluation.tasks[problem.name], evaluation.supervised.get(method)
        base = self.plan.file(task.finetune or "")
        from_random = method == "scratch" or network is not None
        as_given = self.plan.encoders.get(evaluation.random_encoder_of if from_random else method)
        given = network.encoder if network is not None and network.encoder else None
        source = self.encoders["random" if from_random else method]
        overrides: dict[str, Any] = {
            "data.root": str(self.index.root),
            "model.encoder": encoder_for_task(base, given or network_of(source, self.trusted)),
            **_targets(problem),
            "data.train_labels": count,
            "data.seed": seed,
            **({"data.samples": read_encoder_card(source).input_spec["samples"]} if as_given and not given else {}),
            **({} if evaluation.windows == 1 else {"data.evaluation_windows": evaluation.windows}),
            "seed_everything": seed,
            **self._balanced(base, problem),
            **task.set,
            **(network.set if network is not None else {}),
            **(as_given.set if as_given is not None and not from_random else {}),
            **(OF_ATTENTION if protocol == ATTENTION else {}),
        }
        inputs = {"cohort": self.cohort}
        if protocol == TAUGHT:
            teacher = str(evaluation.teacher)
            overrides["data.pseudo_labels"] = str(teacher_table(self.out, folder.name))
            inputs["teacher"] = self.fingerprints[teacher]
        if not from_random:
            overrides["model.encoder_weights"] = str(source)
            inputs["encoder"] = self.fingerprints[method]
        return StageRun(folder.name, folder, base, overrides, inputs)

    def _balanced(self, base: Path, problem: Problem) -> dict[str, Any]:
        """Return whose classes are balanced: where the config balances, those of a model's only target."""
        settings = mapping_at(read_config(base), "data", "init_args")
        if settings.get("balance") is None:
            return {}
        names = [label.name for label in problem.labels]
        if len(names) == 1:
            return {"data.balance": names[0]}
        if settings["balance"] not in names:
            raise UserError(
                f"{base.name}: data.balance {settings['balance']} is no target of task {problem.name}; set "
                "separately: target, or data.balance: null under set"
            )
        return {}

    def _read(self, path: Path, problem: Problem, split: str) -> Floats:
        """Return the predictions (n, K) of a split in the order of the problem's rows and labels."""
        names = [label.name for label in problem.labels]
        stored = read_npz(path, ("row", "subject", "prediction", "label"), "the predictions of a stage")
        found = [name.decode() for name in stored["label"]]
        if found != names:
            raise UserError(
                f"{path}: holds predictions of {', '.join(found)}, not of {', '.join(names)}; remove its folder "
                f"{path.parent.name} and run the experiment again"
            )
        wanted = problem.rows[problem.part(split)]
        place = {int(row): k for k, row in enumerate(stored["row"])}
        order = np.array([place.get(int(row), -1) for row in wanted], dtype=np.intp)
        subjects = self.index.subjects(wanted).astype("S32")
        if (order < 0).any() or not np.array_equal(stored["subject"][order], subjects):
            raise UserError(
                f"{path}: holds predictions of other recordings than the {split} split of the cohort; is its config "
                f"of another cohort, split or input? Remove its folder {path.parent.name} once it is mended"
            )
        values = stored["prediction"][order].astype(np.float64)
        require_predictions(values, names, f"{path.parent.name}/{path.name}")
        return values
