"""Carrying out what is asked of a trained model: which analyses, of which recordings, into which folder."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.interpretation.attribution_blocks import AttributionOptions
from ecgcmr.interpretation.context import AnalysisContext, in_evaluation
from ecgcmr.interpretation.embedding_report import EmbeddingOptions
from ecgcmr.interpretation.kinds import ENTRIES, FEWEST_SUBJECTS
from ecgcmr.interpretation.pair import AlignedPair, networks
from ecgcmr.interpretation.trained_folder import TrainedFolder
from ecgcmr.shards import ShardIndex, StoredAnnotations


@dataclass(frozen=True)
class ExplainOptions:
    """What is asked.

    Attributes:
        kinds: Of ``ecgcmr.interpretation.kinds``; empty: all that the model can be given.
        targets: Outputs to attribute; empty: as the analysis chooses.
        subjects: At most so many, drawn by the seed.
        split: Of the cohort.
        seed: Of all random draws.
        device: Of the networks.
        compare: Run folders whose ECG encoders the embedding is compared with.
        umap: Whether UMAP is drawn beside the principal components.
        projector: Whether embeddings are written for TensorBoard's projector too.
        trusted: Classes, modules or packages beside this package's that an encoder may be of.
    """

    kinds: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    subjects: int = 500
    split: str = "test"
    seed: int = 0
    device: torch.device = torch.device("cpu")
    compare: tuple[Path, ...] = ()
    umap: bool = False
    projector: bool = False
    trusted: tuple[str, ...] = ()


def explain(
    trained: TrainedFolder,
    index: ShardIndex,
    out: Path,
    options: ExplainOptions,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Carry out analyses of a model.

    Args:
        trained: The model.
        index: A cohort that was prepared as the model's.
        out: Folder to write to, which exists.
        options: What is asked.
        report: Called with a line when an analysis begins and when it is done.

    Raises:
        UserError: A kind or target does not suit the model, the cohort does not suit it, or an analysis cannot be
            carried out.
    """
    kinds = chosen_kinds(trained, options)
    further = {
        "attribution": AttributionOptions(targets=options.targets),
        "embedding": EmbeddingOptions(umap=options.umap, compare=options.compare, projector=options.projector),
    }
    trained.check_cohort(index.layout, index.root)
    context = open_context(trained, index, options)
    context.check()
    report(f"{len(context.rows)} recordings of as many subjects ({options.split} split)")
    shown_all = [kind for kind in kinds if kind != "attribution" or trained.readout is None]
    if trained.left_out and shown_all:
        flags = ", ".join(trained.left_out)
        report(f"note: {', '.join(shown_all)}: show the network every lead; training left out leads that are {flags}")
    for kind in kinds:
        start = time.perf_counter()
        module, name = ENTRIES[kind]
        analyse = getattr(importlib.import_module(module), name)
        analyse(context, out, further.get(kind))
        report(f"{kind}: {time.perf_counter() - start:.1f} s")


def chosen_kinds(trained: TrainedFolder, options: ExplainOptions) -> tuple[str, ...]:
    """Return the analyses to carry out.

    Raises:
        UserError: One does not suit the model, or targets are named and none is attributed to.
    """
    for kind in options.kinds:
        if kind not in trained.kinds:
            raise UserError(
                f"--kind {kind}: {trained.folder} can be given {', '.join(trained.kinds)}; localisation and retrieval "
                "need the run folder of an alignment, attribution one that has images or targets"
            )
    kinds = options.kinds or trained.kinds
    if options.targets and "attribution" not in kinds:
        raise UserError("--target: names what attribution is about, which is not among the kinds asked for")
    for option, given in (("compare", options.compare), ("umap", options.umap), ("projector", options.projector)):
        if given and "embedding" not in kinds:
            raise UserError(f"--{option}: belongs to the embedding, which is not among the kinds asked for")
    return kinds


def open_context(trained: TrainedFolder, index: ShardIndex, options: ExplainOptions) -> AnalysisContext:
    """Return what the analyses are given: networks on their device, and the rows of the chosen subjects."""
    readout, pair = trained.readout, trained.pair
    encoder = in_evaluation(trained.encoder, options.device)
    if pair is not None:
        encoder, *others = (in_evaluation(network, options.device) for network in networks(pair))
        pair = AlignedPair(encoder, *others)
    return AnalysisContext(
        index=index,
        rows=choose_rows(index, trained.needs, options),
        ecg_encoder=encoder,
        pair=pair,
        readout=None if readout is None else readout.to(options.device),
        truth=StoredAnnotations(index),
        windows=trained.windows,
        seed=options.seed,
        device=options.device,
        trusted=options.trusted,
    )


def choose_rows(index: ShardIndex, needs: Sequence[str], options: ExplainOptions) -> NDArray[np.int64]:
    """Return positions, ascending, of the first recording of each chosen subject that has what the model takes.

    Raises:
        UserError: There are too few.
    """
    rows = index.positions(options.split, needs)
    _, first = np.unique(index.subjects(rows), return_index=True)
    rows = rows[np.sort(first)]
    if len(rows) < FEWEST_SUBJECTS:
        what = " and ".join({"ecg": "ECG", "cmr": "images"}[name] for name in needs)
        raise UserError(
            f"{index.root}: {len(rows)} subjects of the {options.split} split have {what}; at least {FEWEST_SUBJECTS} "
            "are needed"
        )
    if len(rows) > options.subjects:
        generator = np.random.default_rng(options.seed)
        rows = np.sort(generator.choice(rows, options.subjects, replace=False))
    return rows.astype(np.int64)


def on_device(options: ExplainOptions, name: str) -> ExplainOptions:
    """Return the options with a device by its name; ``auto`` takes a GPU where there is one.

    Raises:
        UserError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: there is none here; choose auto or cpu") from error
    return replace(options, device=device)
