"""Stacks within an experiment: methods of the table, combined by models fitted on their out-of-fold predictions.

What the parts predict from all labelled subjects is what the table shows of them; only the folds are computed here,
once for all stacks that share a part.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from data_modules.sampling import PURPOSE, generator
from ecgcmr import __version__
from ecgcmr.evaluation.doubts import listed
from ecgcmr.experiments.baseline_methods import BOOSTING, Baselines, boosting_settings
from ecgcmr.experiments.kept_results import kept_arrays
from ecgcmr.experiments.methods import Floats, Outcome, Problem
from ecgcmr.experiments.plan import Plan
from ecgcmr.experiments.plan_checks import BASELINES
from ecgcmr.experiments.stage_runs import fingerprint_of
from ecgcmr.probes.baselines import baseline_predictions
from ecgcmr.probes.boosting import boosting_predictions
from ecgcmr.probes.folds import MOST_FOLDS, Folds, deal_folds
from ecgcmr.probes.stacking import FITTED, Fit, Part, out_of_fold, stack_predictions


@dataclass
class Stacks:
    """The stacks of one task.

    Attributes:
        plan: The experiment file.
        problem: The task.
        baselines: Of the same cohort.
        embeddings: (problem, encoder, seed) -> features (n, D) of the problem's rows.
        made: (method, labels, seed) -> what the table shows of it.
    """

    plan: Plan
    problem: Problem
    baselines: Baselines
    embeddings: Callable[[Problem, str, int], Floats]
    made: Mapping[tuple[str, int | None, int], Outcome]
    _chosen: dict[str, dict[int, Counter[str]]] = field(default_factory=dict, init=False)
    _few: dict[str, set[int]] = field(default_factory=dict, init=False)

    def outcomes(self, name: str, counts: list[int]) -> Iterator[tuple[int, int, Outcome]]:
        """Yield (labels, seed, outcome) of a stack.

        One with boosting among its parts takes the seeds of boosting. With all labels the seeds see the same subjects,
        and one is enough unless a part is the random encoder.

        Args:
            name: Of the stack.
            counts: Numbers of labelled training recordings.
        """
        methods, problem = self.plan.evaluation.stack[name], self.problem
        seeds = self.plan.finetune_seeds if BOOSTING in methods else self.plan.seeds
        most = len(problem.training(None))
        for seed in seeds:
            features = {method: self._features(method, seed) for method in methods}
            for count in counts:
                if count == most and seed != seeds[0] and "random" not in methods:
                    continue
                folds = self._folds(count, seed)
                parts = [self._part(method, count, seed, features[method], folds) for method in methods]
                truth = (problem.values[rows] for rows in (problem.training(count, seed), problem.part("val")))
                found = stack_predictions(problem.task, parts, *truth)
                self._chosen.setdefault(name, {}).setdefault(count, Counter()).update(found.chosen)
                yield count, seed, problem.outcome(found)

    def notes(self) -> list[str]:
        """Say what the stacks were made of, and for which targets their folds are fewer than usual; a line each."""
        lines = [f"{self.problem.name}, stack {name}: {_summary(counts)}" for name, counts in self._chosen.items()]
        if self._few:
            counts = {name: ", ".join(f"{count:,}" for count in sorted(own)) for name, own in self._few.items()}
            each = [f"{name} at {at} labels" for name, at in counts.items()]
            lines.append(
                f"{self.problem.name}: stacks have fewer than {MOST_FOLDS} folds, or none and so no fitted weights, "
                f"where subjects are few: {listed(each, '; ')}"
            )
        return lines

    def _features(self, method: str, seed: int) -> Floats:
        if method in BASELINES:
            return self.baselines.features(method, self.problem)
        return self.embeddings(self.problem, method, seed)

    def _folds(self, count: int, seed: int) -> Folds:
        """Deal out the labelled subjects of a number of labels and a seed; all stacks have the same folds."""
        problem, rows = self.problem, self.problem.training(count, seed)
        subjects = np.asarray(self.baselines.index.subjects(problem.rows[rows]), dtype=str)
        folds = deal_folds(problem.task, problem.values[rows], subjects, generator(seed, PURPOSE.folds))
        for column in folds.notes:
            self._few.setdefault(problem.labels[column].name, set()).add(count)
        return folds

    def _part(self, method: str, count: int, seed: int, features: Floats, folds: Folds) -> Part:
        """Return what a method predicts: out of fold, and from all labelled subjects."""
        problem, made = self.problem, self.made.get((method, count, seed))
        if made is None:  # the table has it with other seeds
            made = self._whole(method, count, seed, features)
        train, val = problem.training(count, seed), problem.part("val")
        fingerprint = fingerprint_of(
            {
                "cohort": self.baselines.cohort,
                "targets": [label.name for label in problem.labels],
                "rows": [problem.rows[part].tolist() for part in (train, val)],
                "features": _digest(features),
                "folds": _digest(folds.number),
                "model": boosting_settings(problem, seed) if method == BOOSTING else problem.task.kind,
                "version": __version__,
            }
        )

        def folded() -> dict[str, NDArray]:
            fit: Fit = partial(boosting_predictions, seed=seed) if method == BOOSTING else baseline_predictions
            x, y = features, problem.values
            return {"scores": out_of_fold(problem.task, fit, (x[train], y[train]), (x[val], y[val]), folds)}

        folder = self.baselines.folder / "features" / f"{problem.name}-{method}-{count}-{seed}-folds"
        scores = kept_arrays(folder, fingerprint, folded)["scores"]
        if made.validation is None:
            raise ValueError(f"{method} has no predictions of the validation rows")
        return Part(method, scores, made.validation, made.prediction)

    def _whole(self, method: str, count: int, seed: int, features: Floats) -> Outcome:
        if method == BOOSTING:
            return self.baselines.boosted(self.problem, features, count, seed)
        return self.problem.probe(features, [count], seed)[count]


def _digest(values: NDArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def _summary(counts: Mapping[int, Counter[str]]) -> str:
    """Say how often validation chose which combination, by number of labels."""
    lines = []
    for count, chosen in sorted(counts.items()):
        total, kinds = sum(chosen.values()), Counter[str]()
        for choice, times in chosen.items():
            kinds[FITTED if choice.endswith(FITTED) else choice] += times
        shares = [f"{kind} {100 * times / total:.0f} %" for kind, times in kinds.most_common() if kind]
        lines.append(f"at {count:,} labels {', '.join(shares)}")
    return "of targets and seeds validation chose " + "; ".join(lines)
