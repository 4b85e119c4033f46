"""Data sets known by name: each entry leads to a class, is in the help and in the documentation."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from ecgcmr.preparation.command import HELP
from ecgcmr.preparation.named_collections import CHOOSABLE, COLLECTIONS, collection_names, named_collection
from ecgcmr.preparation.options import PrepareOptions

PAGE = Path(__file__).parents[2] / "docs" / "collections.md"


@pytest.mark.parametrize("name", COLLECTIONS)
def test_an_entry_leads_to_a_collection_and_names_options_that_there_are(name):
    entry = COLLECTIONS[name]
    assert {*entry.needs, *entry.takes} <= set(CHOOSABLE)
    if entry.home:
        module, _, cls = entry.home.partition(":")
        found = vars(import_module(module))[cls]
        assert list(inspect.signature(found).parameters) == ["options"]
        assert callable(found.labels)
        assert callable(found.candidates)
        assert entry.needs


def test_every_name_is_in_the_help_and_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    for name, shown in zip(COLLECTIONS, collection_names(), strict=True):
        assert f"\n  {shown:14} " in HELP
        assert f"`{shown}`" in page, name


def test_a_part_stands_only_behind_a_name_that_has_one():
    assert named_collection("echonext") is COLLECTIONS["echonext"]
    assert named_collection("echonext:sph") is None
    assert named_collection(None) is None
    options = PrepareOptions(out=Path("out"), collection="echonext:Class")
    assert options.collection_is_foreign
