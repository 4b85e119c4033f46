"""The layout of several cohorts taken as one: equal recordings, joined labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.shards.index import ShardIndex
from ecgcmr.shards.layout import CMRLayout, ECGLayout, Label, Layout
from ecgcmr.shards.recipe import compare_recipes, recipe_of

_STORED = {"ecg": ("samples", "dtype"), "cmr": ("height", "width", "dtype", "slices")}
"""What a batch needs to be equal beside the recipe."""


def joint_layout(members: Sequence[ShardIndex]) -> Layout:
    """Return the layout of cohorts whose rows are to stand in one batch; labels that one lacks are missing there.

    Args:
        members: The cohorts; one that has no images, or no ECGs, may stand beside one that has.

    Raises:
        UserError: Recordings were prepared otherwise or have other shapes, or a label is something else in two.
    """
    preparation: dict[str, Any] = dict(members[0].layout.preparation)
    for modality in ("ecg", "cmr"):
        having = [member for member in members if getattr(member.layout, modality) is not None]
        for other in having[1:]:
            _check_alike(having[0], other, modality)
        if having and modality in having[0].layout.preparation:
            preparation[modality] = having[0].layout.preparation[modality]
    return Layout(_ecg(members), _cmr(members), _labels(members), preparation)


def _check_alike(one: ShardIndex, other: ShardIndex, modality: str) -> None:
    first, second = (recipe_of(index.layout, modality) for index in (one, other))
    differences = list(compare_recipes(first, second, modality).differences)
    first, second = (asdict(getattr(index.layout, modality)) for index in (one, other))
    differences += [
        f"{name} {first[name]} -> {second[name]}" for name in _STORED[modality] if first[name] != second[name]
    ]
    if differences:
        raise UserError(
            f"data.root: {one.root} and {other.root} are no one training set, for their {modality.upper()}s differ: "
            f"{'; '.join(differences)}; prepare them alike"
        )


def _ecg(members: Sequence[ShardIndex]) -> ECGLayout | None:
    found = [member.layout.ecg for member in members if member.layout.ecg is not None]
    if not found:
        return None
    beats = {ecg.max_beats for ecg in found}
    return replace(found[0], max_beats=beats.pop() if len(beats) == 1 else 0, quality=all(ecg.quality for ecg in found))


def _cmr(members: Sequence[ShardIndex]) -> CMRLayout | None:
    found = [member.layout.cmr for member in members if member.layout.cmr is not None]
    return replace(found[0], mask=all(cmr.mask for cmr in found)) if found else None


def _labels(members: Sequence[ShardIndex]) -> tuple[Label, ...]:
    joined: dict[str, tuple[Label, ShardIndex]] = {}
    for member in members:
        for label in member.layout.labels:
            known, where = joined.setdefault(label.name, (label, member))
            if (known.kind, known.unit) != (label.kind, label.unit):
                raise UserError(
                    f"data.root: label {label.name} is a {_words(known)} in {where.root} and a {_words(label)} in "
                    f"{member.root}; give it another name or unit in one of them"
                )
    return tuple(label for label, _ in joined.values())


def _words(label: Label) -> str:
    return f"{label.kind} in {label.unit}" if label.unit else label.kind
