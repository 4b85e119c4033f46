"""Transformers among the published encoders."""

from __future__ import annotations

from ecgcmr.encoders.published.registry import Published

ENTRIES: tuple[Published, ...] = ()
