"""The analysis ``embedding``: maps, diagnostics and concept directions of what the encoders make of a cohort."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgcmr.inspection.png import save_png
from ecgcmr.interpretation.concept_report import write_concepts
from ecgcmr.interpretation.context import AnalysisContext
from ecgcmr.interpretation.diagnostics import alignment, cka_table, effective_rank, uniformity, unit_rows
from ecgcmr.interpretation.embedding_map import EmbeddingMap, pca_map, umap_is_missing, umap_map
from ecgcmr.interpretation.embeddings import PairEmbeddings, pair_embeddings
from ecgcmr.interpretation.figures.embedding_figure import draw_common_space, draw_embedding_map
from ecgcmr.interpretation.other_runs import other_features
from ecgcmr.interpretation.probe_rows import CHOSEN, ProbeRows, probe_rows, untrained_rows
from ecgcmr.interpretation.projector import write_projector
from ecgcmr.interpretation.region_scores import others
from ecgcmr.interpretation.result_json import write_json
from ecgcmr.interpretation.retrieval_report import known_labels
from ecgcmr.option_checks import check_least
from ecgcmr.shards import Label, read_labels

NAME = "embedding.json"
_USUAL = ("lv_mass", "lv_edv", "lv_ef", "rv_edv", "age", "sex", "bmi", "af_ever", "cad_ever")
_ALONG = ("lv_mass", "lv_ef", "age")
_MAPPED = 6
_JOINED = 40
_LEAST_FOR_CKA = 4


@dataclass(frozen=True)
class EmbeddingOptions:
    """What the analysis of embeddings does.

    Attributes:
        labels: Of which the first six colour the maps, and all but times to events have directions; None: the usual
            ones that the cohort has.
        along: Numbers or diseases along whose direction the mean ECG is drawn; None: the usual ones among ``labels``.
        umap: Whether to draw UMAP beside the principal components; None: where it is installed.
        compare: Run folders whose ECG encoders enter the table of CKA under the name of their folder.
        projector: Whether to write ``projector/`` for TensorBoard beside the figures.
        control: Whether an untrained encoder of the same make is looked at beside the trained one.
        most_training: Training rows that directions are fitted on.
        most_validation: Validation rows that choose penalties.
        bins: Of a direction.
        recordings: At most from each bin.
        resamples: Of the subjects, for intervals.
    """

    labels: tuple[str, ...] | None = None
    along: tuple[str, ...] | None = None
    umap: bool | None = None
    compare: tuple[Path, ...] = ()
    projector: bool = False
    control: bool = True
    most_training: int = 2000
    most_validation: int = 500
    bins: int = 5
    recordings: int = 30
    resamples: int = 1000

    def __post_init__(self) -> None:
        check_least(1, recordings=self.recordings, resamples=self.resamples)
        check_least(2, most_training=self.most_training, most_validation=self.most_validation, bins=self.bins)


def embedding(context: AnalysisContext, out: Path, options: EmbeddingOptions | None = None) -> None:
    """Write ``embedding.json``, ``concepts.json``, ``embedding*.png`` and ``concepts*.png``.

    Args:
        context: Without a pair the ECG encoder alone is looked at.
        out: Folder, created if need be.
        options: What to do; None: the defaults.

    Raises:
        UserError: A value is not finite, a label is unknown or has no direction, no training rows are left, or UMAP is
            asked for and is not installed.
    """
    chosen = options or EmbeddingOptions()
    labels = _labels(context, chosen.labels)
    along = chosen.along if chosen.along is not None else _present(_ALONG, labels)
    probed = probe_rows(context, chosen.most_training, chosen.most_validation)
    ecg = probed.features[CHOSEN]
    pair = pair_embeddings(context, ecg) if context.pair is not None else None
    control = untrained_rows(context, probed) if chosen.control else None
    others = {f"run {name}": part for name, part in other_features(context, chosen.compare).items()}
    maps = _maps(ecg, context.seed, chosen.umap)
    write_json(out / NAME, _content(context, _parts(ecg, pair, control) | others, maps, labels))
    values = read_labels(context.index, [label.name for label in labels], context.rows)
    for each in maps if labels else ():
        title = f"Features of the ECG encoder, {len(ecg):,} recordings, {each.method}"
        figure = draw_embedding_map(each, labels[:_MAPPED], values[:, :_MAPPED], title)
        save_png(figure, out / ("embedding.png" if each.method == "PCA" else "embedding_umap.png"))
    if chosen.projector:
        projected = {} if pair is None else {"ecg_projected": pair.ecg_projected, "cmr_projected": pair.cmr_projected}
        write_projector(out / "projector", {"ecg": ecg, **projected}, context.rows, labels, values)
    if pair is not None:
        joined = np.sort(context.generator("joined").permutation(len(ecg))[:_JOINED])
        common = pca_map(np.concatenate([unit_rows(pair.ecg_projected), unit_rows(pair.cmr_projected)]))
        save_png(draw_common_space(common, joined, "ECGs and images in the common space"), out / "embedding_common.png")
    directed = [label for label in labels if label.kind != "time"]  # which can colour a map, but has no direction
    directed += [label for label in _labels(context, along) if label not in directed]
    write_concepts(
        context, probed, directed, out, control=control,
        along=along, bins=chosen.bins, recordings=chosen.recordings, resamples=chosen.resamples,
    )  # fmt: skip


def _parts(
    ecg: NDArray[np.float32], pair: PairEmbeddings | None, control: ProbeRows | None
) -> dict[str, NDArray[np.float32]]:
    """Return every representation of the chosen rows by its name in ``embedding.json``."""
    parts = {"ecg": ecg}
    if pair is not None:
        parts |= {"cmr": pair.cmr, "ecg_projected": pair.ecg_projected, "cmr_projected": pair.cmr_projected}
    return parts | ({"ecg_untrained": control.features[CHOSEN]} if control is not None else {})


def _content(
    context: AnalysisContext, parts: dict[str, NDArray[np.float32]], maps: list[EmbeddingMap], labels: list[Label]
) -> dict[str, Any]:
    """Return what ``embedding.json`` has; what needs a pair, or more recordings, is null."""
    count = len(parts["ecg"])
    shuffled = others(context.subjects(), context.generator("shuffled subjects"))
    pair = (parts["ecg_projected"], parts["cmr_projected"]) if "cmr_projected" in parts else None
    return {
        "n": count,
        "subjects": len(np.unique(context.subjects())),
        "features": {name: part.shape[1] for name, part in parts.items()},
        "explained_variance": {name: pca_map(part).explained for name, part in parts.items()},
        "effective_rank": {name: effective_rank(part) for name, part in parts.items()},
        "uniformity": {name: uniformity(part) for name, part in parts.items() if name.endswith("projected")},
        "alignment": alignment(*pair) if pair is not None else None,
        "alignment_shuffled": alignment(pair[0], pair[1][shuffled]) if pair is not None else None,
        "cka": cka_table(parts) if count >= _LEAST_FOR_CKA else None,
        "labels": [label.name for label in labels],
        "maps": [each.method for each in maps],
        "note": None if any(each.method == "UMAP" for each in maps) else umap_is_missing(),
    }


def _maps(features: NDArray[np.float32], seed: int, with_umap: bool | None) -> list[EmbeddingMap]:
    asked = umap_is_missing() is None if with_umap is None else with_umap
    return [pca_map(features), *([umap_map(features, seed)] if asked else [])]


def _labels(context: AnalysisContext, names: tuple[str, ...] | None) -> list[Label]:
    if names is None:
        return known_labels(context.index, _USUAL)
    return [context.index.layout.labels[column] for column in context.index.label_columns(names)]


def _present(names: tuple[str, ...], labels: list[Label]) -> tuple[str, ...]:
    known = {label.name for label in labels}
    return tuple(name for name in names if name in known)
