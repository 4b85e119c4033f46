"""The analysis ``retrieval``: ``retrieval.json``, a picture of the scores, and nearest neighbours to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgcmr.inspection.png import save_png
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.embeddings import pair_embeddings
from ecgcmr.interpretation.figures.neighbours_figure import draw_neighbours
from ecgcmr.interpretation.figures.retrieval_figure import draw_retrieval
from ecgcmr.interpretation.neighbours import neighbours
from ecgcmr.interpretation.result_json import write_json
from ecgcmr.interpretation.retrieval import Retrieval, both_ways, retrieval_entry
from ecgcmr.interpretation.retrieved_phenotypes import phenotype_entries
from ecgcmr.metrics.bootstrap import Resamples
from ecgcmr.option_checks import check_least
from ecgcmr.shards import Label, ShardIndex, read_labels
from ecgcmr.shards.layout import LEADS

NAME = "retrieval.json"


@dataclass(frozen=True)
class RetrievalOptions:
    """What the analysis of retrieval does.

    Attributes:
        phenotypes: Of which retrieved and true hearts are compared; None: the usual ones that the cohort has.
        shown: Values under the hearts of the nearest neighbours; those that the cohort has.
        queries: Pictures of nearest neighbours.
        resamples: Of the subjects, for intervals.
    """

    phenotypes: tuple[str, ...] | None = None
    shown: tuple[str, ...] = ("lv_edv", "lv_mass", "lv_ef")
    queries: int = 3
    resamples: int = 1000

    def __post_init__(self) -> None:
        check_least(0, queries=self.queries)
        check_least(1, resamples=self.resamples)


_USUAL = ("lv_edv", "lv_esv", "lv_ef", "lv_mass", "rv_edv", "rv_ef")


def retrieval(context: AnalysisContext, out: Path, options: RetrievalOptions | None = None) -> None:
    """Write ``retrieval.json`` and ``retrieval*.png``.

    Args:
        context: With a pair; the rows have both modalities.
        out: Folder, created if need be.
        options: What to do; None: the defaults.

    Raises:
        UserError: There is no pair, fewer than two subjects, an embedding that is not finite, or an unknown label.
    """
    chosen = options or RetrievalOptions()
    embedded = pair_embeddings(context)
    found = both_ways(embedded.ecg_projected, embedded.cmr_projected, context.subjects())
    entries = retrieval_entries(context, found, chosen)
    write_json(out / NAME, entries)
    save_png(draw_retrieval(found, entries), out / "retrieval.png")
    ecg = context.index.layout.ecg
    if ecg is None or ecg.leads != LEADS:  # the paper has a place for each of the twelve
        return
    labels = known_labels(context.index, chosen.shown)
    for number, each in enumerate(neighbours(context, found[0], labels, chosen.queries), start=1):
        save_png(draw_neighbours(each, ecg, labels), out / f"retrieval_neighbours_{number}.png")


def retrieval_entries(
    context: AnalysisContext, found: list[Retrieval], options: RetrievalOptions
) -> list[dict[str, Any]]:
    """Return the content of ``retrieval.json``: an entry a direction."""
    names = options.phenotypes
    if names is None:
        labels = known_labels(context.index, _USUAL)
    else:
        labels = [context.index.layout.labels[column] for column in context.index.label_columns(names)]
    values = read_labels(context.index, [label.name for label in labels], context.rows).astype(np.float64)
    resamples = Resamples.draw(context.subjects(), options.resamples, context.seed)
    return [
        {
            **retrieval_entry(each, resamples),
            "retrieved_phenotypes": phenotype_entries(each, labels, values, resamples),
        }
        for each in found
    ]


def known_labels(index: ShardIndex, names: tuple[str, ...]) -> list[Label]:
    """Return those of some labels that a cohort has, in the order of the names."""
    return [index.layout.labels[index.label_names.index(name)] for name in names if name in index.label_names]
