"""The layout of a prepared cohort: what its arrays are, and every parameter that shaped them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ecgcmr.formats.record import MILLIVOLTS
from ecgcmr.preparation.beats import MEASUREMENTS
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.t_end import BEATS_KEY, DEFAULT_T_END, recipe
from ecgcmr.shards.layout import CMRLayout, ECGLayout, Label, Layout
from ecgcmr.shards.recipe import RECIPE_VERSION as RECIPE_VERSION

MAX_BEATS = 64
"""Beats kept of a recording: ten seconds at 380 beats a minute."""


def cohort_layout(
    options: PrepareOptions,
    cine: CineOptions | None,
    schema: Sequence[Label],
    split_rule: Mapping[str, object],
    *,
    unit: str = MILLIVOLTS,
    has_ecg: bool = True,
    has_masks: bool = False,
) -> Layout:
    """Describe a cohort: what its arrays are and every parameter that shaped them.

    Args:
        options: The choices made.
        cine: How frames are made; None without images.
        schema: Labels that come from tables.
        split_rule: How subjects were divided.
        unit: What the recordings come in.
        has_ecg: Whether there are ECGs.
        has_masks: Whether there are segmentations of the images.
    """
    preparation: dict[str, object] = {"version": RECIPE_VERSION, "splits": dict(split_rule)}
    ecg = cmr = None
    labels = tuple(schema)
    if has_ecg:
        cleaning = Cleaning.from_name(options.cleaning)
        ecg = ECGLayout(
            sampling_rate=options.standard.sampling_rate,
            samples=options.standard.samples,
            unit=unit if cleaning.unit == MILLIVOLTS else cleaning.unit,
            max_beats=MAX_BEATS if options.beats else 0,
            quality=options.beats,
        )
        preparation["ecg"] = {
            "cleaning": cleaning.to_dict(),
            "short": options.standard.short,
            "window": options.standard.window,
            **({} if unit == MILLIVOLTS else {"source_unit": unit}),  # cohorts in mV keep their fingerprint
        }
        if options.beats:
            labels += MEASUREMENTS
            preparation[BEATS_KEY] = recipe(options.t_end or DEFAULT_T_END)
    if cine is not None:
        cmr = CMRLayout(cine.frames, cine.size, cine.size, cine.spacing_mm, slices=cine.stored_slices, mask=has_masks)
        # Without a distance of slices there is no entry of it, so that cohorts from before keep their fingerprint.
        made = {name: value for name, value in asdict(cine).items() if value is not None}
        preparation["cmr"] = {**made, "view": options.view}
    return Layout(ecg, cmr, labels, preparation)
