"""Prediction intervals by split conformal prediction: from the residuals of validation subjects, by sex where known.

The interval of level L is the prediction plus and minus the ceil((n + 1) L)-th of the n sorted absolute residuals
(Vovk et al. 2005; Lei et al., JASA 2018), which holds in finite samples, whatever model and distribution. Groups
by sex have their own residuals (Mondrian), so that the level holds in each of them; a group that is too small falls to
all. The state is the sorted residuals: any level can be asked for when a recording comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgcmr.inference.subject_scores import ALL, LEAST_SUBJECTS, SEXES, rank_at, sex_names, sorted_scores

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PredictionInterval:
    """What a value lies in, or why that cannot be said.

    Attributes:
        low, high: In the target's unit; None without an interval.
        level: Probability that the truth lies inside, as asked for.
        group: ``all``, ``female`` or ``male``: whose residuals it rests on.
        reason: Why there is no interval; None if there is one.
    """

    low: float | None
    high: float | None
    level: float
    group: str
    reason: str | None = None


@dataclass(frozen=True)
class ConformalResiduals:
    """Sorted absolute residuals of validation subjects, the state of a target's intervals.

    Attributes:
        groups: ``all`` and, where large enough, ``female`` and ``male`` -> (n,) ascending, one entry a subject, in the
            target's unit. Empty if there were fewer than 20 subjects in all.
    """

    groups: Mapping[str, Floats]

    @classmethod
    def fit(
        cls, truth: ArrayLike, prediction: ArrayLike, subjects: ArrayLike, sex: ArrayLike | None = None
    ) -> ConformalResiduals:
        """Take the residuals of validation rows, which must have had no part in training or in any choice.

        Args:
            truth: (n,) in the target's unit; NaN where unknown.
            prediction: (n,).
            subjects: (n,) whose the rows are; recordings of a subject count as one (``subject_scores``).
            sex: (n,) 0 female, 1 male, anything else unknown; None if nobody's is known.

        Raises:
            ValueError: Lengths differ.
        """
        y, p, names = np.asarray(truth, np.float64), np.asarray(prediction, np.float64), np.asarray(subjects)
        if not y.shape == p.shape == names.shape or y.ndim != 1:
            raise ValueError(f"truth {y.shape}, prediction {p.shape} and subjects {names.shape} differ in length")
        residuals = np.abs(y - p)
        rows = {ALL: np.ones(len(y), dtype=bool)}
        if sex is not None:
            sexes = sex_names(sex)
            rows |= {name: sexes == name for name in SEXES}
        made = {name: sorted_scores(residuals[members], names[members]) for name, members in rows.items()}
        return cls({name: scores for name, scores in made.items() if len(scores) >= LEAST_SUBJECTS})

    def group_for(self, sex: str | None) -> str:
        """Return the group whose residuals serve a subject of a sex (``female``, ``male`` or None)."""
        return sex if sex in self.groups and sex is not None else ALL

    def half_width(self, level: float, sex: str | None = None) -> float | None:
        """Return half the width of the interval in the target's unit; None if too few subjects bear the level.

        Raises:
            ValueError: The level is not between 0 and 1.
        """
        return self._half_width(level, self.group_for(sex))

    def interval(
        self, value: float, level: float, sex: str | None = None, plausible: tuple[float, float] | None = None
    ) -> PredictionInterval:
        """Return the interval of one prediction.

        Where the group by sex is too small for the level, all subjects serve.

        Args:
            value: The prediction.
            level: Between 0 and 1, such as 0.9.
            sex: ``female``, ``male`` or None.
            plausible: Least and largest value that the target can have; what of the interval lies outside is cut off,
                which costs no coverage.

        Raises:
            ValueError: The level is not between 0 and 1.
        """
        group = self.group_for(sex)
        width = self._half_width(level, group)
        if width is None and group != ALL:
            group = ALL
            width = self._half_width(level, group)
        if width is None:
            return PredictionInterval(None, None, level, group, self._reason(level))
        if not np.isfinite(value):
            return PredictionInterval(None, None, level, group, "the prediction is not a number")
        low, high = value - width, value + width
        if plausible is not None:
            low, high = (float(np.clip(bound, *plausible)) for bound in (low, high))
        return PredictionInterval(low, high, level, group)

    def _half_width(self, level: float, group: str) -> float | None:
        scores = self.groups.get(group)
        rank = rank_at(level, 0 if scores is None else len(scores))
        return None if scores is None or rank > len(scores) else float(scores[rank - 1])

    def _reason(self, level: float) -> str:
        if ALL not in self.groups:
            return f"fewer than {LEAST_SUBJECTS} validation subjects have this target"
        needed = int(np.ceil(level / (1.0 - level) - 1e-9))
        return f"{len(self.groups[ALL])} validation subjects cannot bear a level of {level:g}; it takes {needed}"
