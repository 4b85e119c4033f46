"""Subjects of a collection whose images come with segmentations: what those say, checked over all of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ecgcmr.errors import UserError
from ecgcmr.formats.image_files import ImageFiles
from ecgcmr.preparation.collections.cmr_volumes import (
    MaskCounts,
    agreed_order,
    count_cine,
    count_volumes,
    fault_of,
    volumes_of,
)
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes

_NAMED = 3


@dataclass(frozen=True)
class Imaged:
    """One subject before its segmentations are looked at.

    Attributes:
        subject: Its id at the source.
        name: What reports call its folder.
        files: Its images.
        labels: What the publisher's table says.
        split: As for ``Candidate``.
        volumes: Whether ventricles are measured by its segmentations: of a long axis they are no volumes.
    """

    subject: str
    name: str
    files: ImageFiles
    labels: Mapping[str, object] = field(default_factory=dict)
    split: str | None = None
    volumes: bool = True


def segmented_candidates(
    subjects: Sequence[Imaged], published: tuple[int, int], notes: SearchNotes, title: str
) -> Iterator[Candidate]:
    """Yield a candidate a subject, with volumes from its segmentations; one that cannot be right is left out and said.

    Args:
        subjects: All of the collection.
        published: Numbers of the left and the right cavity as the publisher states them.
        notes: Where it is said what is not used.
        title: Name of the data set.
    """
    unusable: dict[str, list[str]] = {}
    looked_at = [_looked_at(one, unusable) for one in subjects]
    order = agreed_order((counts for _, counts in looked_at), published, notes, title)
    for one, counts in looked_at:
        files, volumes = replace(one.files, cavities=order), {}
        fault = fault_of(counts, order)
        if fault:
            files = _without_segmentation(files)
            unusable.setdefault(fault, []).append(one.name)
        elif one.volumes:
            volumes = volumes_of(counts, order)
        yield Candidate(one.subject, cmr=files, labels={**one.labels, **volumes}, split=one.split, cmr_name=one.name)
    for fault, names in unusable.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        notes.remarks.append(f"{title}: no mask and no volume of {', '.join(names[:_NAMED])}{more}: {fault}")


def _looked_at(one: Imaged, unusable: dict[str, list[str]]) -> tuple[Imaged, MaskCounts]:
    """Return a subject with what its segmentations hold, and without them where they cannot be read."""
    files = one.files
    if not files.has_segmentation:
        return one, MaskCounts()
    try:
        if files.cine_labels is None:
            return one, count_volumes(files.ed_labels, files.es_labels)
        counts, (ed, es) = count_cine(files.cine_labels, (files.ed_frame, files.es_frame))
    except UserError as error:
        unusable.setdefault(str(error), []).append(one.name)
        return replace(one, files=_without_segmentation(files)), MaskCounts()
    if counts.ed is None and counts.es is None:  # the file is there and nobody has segmented anything
        return replace(one, files=_without_segmentation(files)), counts
    return replace(one, files=replace(files, ed_frame=ed, es_frame=es)), counts


def _without_segmentation(files: ImageFiles) -> ImageFiles:
    return replace(files, cine_labels=None, ed_labels=None, es_labels=None)


def published_splits(
    split_of: Callable[[str], str], subjects: Sequence[str], notes: SearchNotes, title: str
) -> dict[str, str]:
    """Return the publisher's split of each subject; of none if a part of the data set is missing.

    Args:
        split_of: Subject -> split.
        subjects: Those that are here.
        notes: Where it is said that hashes give the splits instead.
        title: Name of the data set.
    """
    splits = {subject: split_of(subject) for subject in subjects}
    if {"train", "test"} <= set(splits.values()):
        notes.split_rule = {"by": f"{title}'s publisher"}
        return splits
    notes.remarks.append(
        f"{title}: the training or the testing part is not here, so the subjects' hashes give the splits"
    )
    return {}
