"""The published encoders by name: class, input, where their authors publish code and weights, under which licence.

`PublishedECG`, `ecgcmr import-weights --as NAME`, the tests of all of them and the tables of docs/published_encoders.md
read it. Those of ECGs, whose input is made of recordings in mV, and of images, which are given what `ecgcmr prepare`
made, are listed apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ecgcmr.encoders.published.adapter import PublishedInput
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.errors import UserError


@dataclass(frozen=True)
class PublishedFile:
    """How a published checkpoint is laid out.

    Attributes:
        names: How the names of its tensors map to ours, and which are no part of the encoder.
        holders: Top-level keys under one of which the tensors lie, the first that there is; "" is the file itself, as
            one of safetensors is.
        read: Argument of the network -> where in the file it stands, key by key.
        objects: Whether the file holds objects of its authors' classes too. Nothing of them is read or run.
    """

    names: PublishedNames = PublishedNames()
    holders: tuple[str, ...] = ("",)
    read: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    objects: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishedNetwork:
    """A published encoder of one size, of ECGs or of images.

    Attributes:
        name: As ``import-weights --as`` takes it.
        title: As its authors call it.
        class_path: Of the bare network, which takes its own input.
        paper: Venue and number.
        code: Where its authors' code is, and its licence.
        weights: Where its authors publish the weights, and their licence.
        files: Names of the files, as they are said to be.
        layout: Of the files.
        feature: What is pooled, and how wide.
        init_args: Arguments of the network at this size, where the class has others.
        small: Arguments of a small one, for tests.
        unverified: What could not be checked without the files.
    """

    name: str
    title: str
    class_path: str
    paper: str
    code: str
    weights: str
    files: tuple[str, ...]
    layout: PublishedFile
    feature: str
    init_args: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PublishedImages(PublishedNetwork):
    """A published encoder of CMR images.

    Attributes:
        sees: What it is given, in words.
        prepare: Options of ``ecgcmr prepare`` that make it.
    """

    sees: str
    prepare: str


@dataclass(frozen=True, kw_only=True)
class Published(PublishedNetwork):
    """A published encoder of ECGs, as ``PublishedECG`` takes it by name.

    Attributes:
        takes: What the network sees.
        other_inputs: Further preparations by name, where the sources disagree.
        lead_sets: Number of leads -> which, for networks of fewer leads.
        masked: Why a masked autoencoder cannot train it; None: it can.
        listing: Name of the list of its published tensors among the golden vectors, without ``_full_shapes.json``.
        vectors: Name of its golden vectors, without ``_seed*.npz``; empty: those of another size are its own.
    """

    takes: PublishedInput
    other_inputs: Mapping[str, PublishedInput] = field(default_factory=dict)
    lead_sets: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    masked: str | None = None
    listing: str = ""
    vectors: str = ""

    def input_as(self, preparation: str, arguments: Mapping[str, Any]) -> PublishedInput:
        """Return what a network with these arguments sees.

        Args:
            preparation: ``published`` or one of ``other_inputs``.
            arguments: Of the network; its ``samples`` and ``leads`` count.

        Raises:
            UserError: The preparation is unknown, or which leads so many are.
        """
        inputs = {"published": self.takes, **self.other_inputs}
        if preparation not in inputs:
            raise UserError(f"{self.name}: unknown preparation {preparation!r}: choose one of {', '.join(inputs)}")
        takes, leads = inputs[preparation], arguments.get("leads")
        if leads is not None and leads != len(takes.leads):
            if leads not in self.lead_sets:
                raise UserError(f"{self.name}: is for {len(takes.leads)} leads and not for {leads}")
            takes = takes.variant(leads=self.lead_sets[leads])
        return takes.variant(samples=arguments.get("samples"))


def published_encoders() -> dict[str, Published]:
    """Return all of ECGs by name."""
    from ecgcmr.encoders.published.entries_networks import ENTRIES as NETWORKS
    from ecgcmr.encoders.published.entries_transformers import ENTRIES as TRANSFORMERS

    return {entry.name: entry for entry in (*NETWORKS, *TRANSFORMERS)}


def published_image_encoders() -> dict[str, PublishedImages]:
    """Return all of images by name."""
    from ecgcmr.encoders.published.entries_images import ENTRIES

    return {entry.name: entry for entry in ENTRIES}


def published_network(name: str) -> Published | PublishedImages:
    """Return one by its name, of ECGs or of images.

    Raises:
        UserError: There is none of that name; the message lists those there are.
    """
    images = published_image_encoders()
    if name in images:
        return images[name]
    known = published_encoders()
    if name not in known:
        raise UserError(f"no published encoder is called {name!r}: choose one of {', '.join([*known, *images])}")
    return known[name]


def published_encoder(name: str) -> Published:
    """Return one of ECGs by its name.

    Raises:
        UserError: There is none of that name; the message lists those there are.
    """
    known = published_encoders()
    if name not in known:
        raise UserError(f"no published encoder is called {name!r}: choose one of {', '.join(known)}")
    return known[name]
