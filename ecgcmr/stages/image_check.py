"""Whether images are what an encoder takes them for: their view, the size of a pixel, slices and their distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.shards.layout import CMRLayout, Layout
from ecgcmr.stages.preparation_check import OPTION, warn

_TOLERANCE = 0.01
"""Of a pixel's size: crops of 190 mm on 192 pixels are as good as of 192 mm."""


def check_images(specification: Mapping[str, Any], layout: Layout, argument: str, *, accept: bool = False) -> None:
    """Refuse images of another view, scale or stack than an encoder was made for; one that does not ask takes all.

    Args:
        specification: Of the encoder's input, by name.
        layout: Of the cohort.
        argument: Name of the config entry, for the message.
        accept: Go on all the same, with a warning.

    Raises:
        UserError: They are others; the message has the command that mends it.
    """
    if specification.get("view") is None or layout.cmr is None:
        return
    made = layout.preparation.get("cmr")
    odd = _differences(specification, layout.cmr, made if isinstance(made, Mapping) else {})
    if not odd:
        return
    text = f"{argument} takes images {_words(specification)}, this cohort's {' and '.join(odd)}"
    if not accept:
        raise UserError(f"{text}; prepare it with 'ecgcmr prepare ... {_options(specification)}', or add {OPTION}")
    warn(f"{text}; accepted by {OPTION}")


def _differences(wanted: Mapping[str, Any], given: CMRLayout, made: Mapping[str, Any]) -> list[str]:
    """Say where a cohort's images differ, a phrase each."""
    odd = []
    view = made.get("view")
    if view != wanted["view"]:
        odd.append(f"are of view {view}" if view else "do not say their view")
    pixel = given.spacing_mm * given.height / wanted["height"]  # as the encoder sees them, resized or not
    if abs(pixel / wanted["pixel_mm"] - 1) > _TOLERANCE:
        odd.append(f"have pixels of {pixel:.3g} mm at {wanted['height']} x {wanted['width']}")
    if wanted.get("slices") is None:
        return odd
    if given.slices != wanted["slices"]:
        odd.append(f"have {given.slices} slices a moment")
    distance = made.get("slice_distance_mm")
    if distance != wanted["slice_mm"]:
        odd.append("have slices spread over each stack" if distance is None else f"have slices {distance:g} mm apart")
    return odd


def _words(wanted: Mapping[str, Any]) -> str:
    stack = ""
    if wanted.get("slices") is not None:
        stack = f" in {wanted['slices']} slices {wanted['slice_mm']:g} mm apart"
    return f"of view {wanted['view']} with pixels of {wanted['pixel_mm']:g} mm{stack}"


def _options(wanted: Mapping[str, Any]) -> str:
    """Options of ``ecgcmr prepare`` that make such images."""
    stack = ""
    if wanted.get("slices") is not None:
        stack = f" --content volumes --slices {wanted['slices']} --slice-distance {wanted['slice_mm']:g}"
    edge = wanted["height"] * wanted["pixel_mm"]
    return f"--view {wanted['view']}{stack} --size {wanted['height']} --field-of-view {edge:g}"
