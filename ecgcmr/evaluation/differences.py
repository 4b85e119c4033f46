"""Paired differences between the variants of a table, on the same subjects and resamples, corrected by Holm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ecgcmr.evaluation.arrangement import Variant
from ecgcmr.evaluation.results import MEAN
from ecgcmr.evaluation.rows import ComparisonRow, Settings
from ecgcmr.evaluation.scoring import Scored, Scorer, entries_of
from ecgcmr.metrics.bootstrap import interval_of
from ecgcmr.metrics.catalogue import PRIMARY
from ecgcmr.metrics.multiplicity import holm, two_sided_p
from ecgcmr.reports.tables import is_ceiling


@dataclass
class Comparer:
    """Paired differences between the variants of one kind that have equally many labels."""

    scorer: Scorer
    kind: str
    scored: Mapping[Variant, Scored]
    settings: Settings
    step: Callable[[], None] = lambda: None  # called after each pair

    def rows(self) -> list[ComparisonRow]:
        """Return the rows of all pairs, corrected for multiplicity within each family."""
        metric, bounds = PRIMARY[self.kind], (-np.inf, np.inf)
        columns = self.scorer.data.columns(self.kind)
        drafts: list[tuple[tuple[object, ...], ComparisonRow]] = []
        for first, second in pairs_of(self.scorer.data.variants, self.settings.focus):
            one, two, n = self._both(first, second)
            value, drawn = one.point[metric] - two.point[metric], one.drawn[metric] - two.drawn[metric]
            for target, group, places in entries_of(self.scorer.data, self.kind):
                defined = [place for place in places if np.isfinite(value[place])]
                if not defined:
                    continue
                center, resampled = float(value[defined].mean()), drawn[:, defined].mean(axis=1)
                count = int(n[:, columns[places]].any(axis=1).sum())
                interval = interval_of(center, resampled, count, len(defined), self.settings.level, bounds)
                row = ComparisonRow(
                    target, group, self.kind, first.method, first.protocol, second.method, second.protocol,
                    first.labels, metric, center, interval.low, interval.high, two_sided_p(center, resampled),
                    float("nan"), 0, count,
                )  # fmt: skip
                family = (group, first.labels) if target == MEAN else (first, second)
                drafts.append((family, row))
            self.step()
        return _corrected(drafts)

    def _both(self, first: Variant, second: Variant) -> tuple[Scored, Scored, NDArray[np.bool_]]:
        """Return both scores on the cells that both predicted."""
        observed, own = self.scorer.observed, [self.scorer.predicted(variant) for variant in (first, second)]
        common = own[0] & own[1] & observed
        pair = [
            self.scored[variant]
            if np.array_equal(common[:, columns], (mask & observed)[:, columns])
            else self.scorer.score(variant, self.kind, common)
            for variant, mask in zip((first, second), own, strict=True)
            for columns in [self.scorer.data.columns(self.kind)]
        ]
        return pair[0], pair[1], common


def pairs_of(variants: Sequence[Variant], focus: str | None) -> Iterator[tuple[Variant, Variant]]:
    """Yield (method, reference): the later of a table less the earlier, or the focus less every other."""
    for earlier, later in combinations([variant for variant in variants if not is_ceiling(variant.method)], 2):
        if earlier.labels != later.labels:
            continue
        if focus is None:
            yield later, earlier
        elif (earlier.method == focus) != (later.method == focus):
            yield (later, earlier) if later.method == focus else (earlier, later)


def _corrected(drafts: list[tuple[tuple[object, ...], ComparisonRow]]) -> list[ComparisonRow]:
    families: dict[tuple[object, ...], list[int]] = {}
    for place, (family, row) in enumerate(drafts):
        if np.isfinite(row.p):
            families.setdefault(family, []).append(place)
    rows = [row for _, row in drafts]
    for places in families.values():
        corrected = holm(np.array([rows[place].p for place in places]))
        for place, p in zip(places, corrected, strict=True):
            rows[place] = replace(rows[place], p_holm=float(p), family=len(places))
    return rows
