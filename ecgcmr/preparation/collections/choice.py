"""Which collections a run prepares: the one that the user names, or what the folders show."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.ptbxl import is_ptbxl
from ecgcmr.named_class import build, load_class
from ecgcmr.preparation.collections.biobank import BiobankCollection
from ecgcmr.preparation.collections.folder import FolderCollection
from ecgcmr.preparation.collections.protocol import Collection
from ecgcmr.preparation.collections.ptbxl import PTBXLCollection
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.known_downloads import known_download
from ecgcmr.preparation.named_collections import (
    CHOOSABLE,
    NamedCollection,
    collection_names,
    named_collection,
)
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.text import printable

METHODS = {"labels": (), "candidates": ("notes",)}
"""What a class needs to be a collection, and what its methods take."""
FOLDERS = ("ecg", "cmr", "echo")
"""Options that name a folder of raw files."""
_TABLES = ("tables", "subjects", "codes", "censor_date", "labels")


def collections_for(options: PrepareOptions) -> list[tuple[str, Collection]]:
    """Return the collections of a run, each with what messages call it.

    Raises:
        UserError: A class cannot be had, or an option is given that its collection does not use.
    """
    if options.collection is not None and options.collection_is_foreign:
        if not set(options.collection) & set(":."):
            raise UserError(
                f"--collection {printable(options.collection, 60)}: choose one of {', '.join(collection_names())}, or "
                "write package.module:Class"
            )
        options.refuse_unused(
            ("ecg", "cmr", "echo", "ptbxl_plus", *_TABLES),
            "is not used with a collection of your own, which gets --collection-args",
        )
        title = f"--collection {options.collection}"
        cls = load_class(options.collection, "--collection", METHODS)
        return [(title, build(cls, dict(options.collection_args), title))]
    entry = named_collection(options.collection)
    if options.collection is not None and entry is not None and entry.home:
        return [(f"--collection {options.collection}", _built(options, options.collection, entry))]
    if options.collection is None and options.ecg is not None:
        _refuse_unnamed(options.ecg)
    options.refuse_unused(("echo",), "is not used for this data set; leave it out")
    plus = None if options.ptbxl_plus is None else require_folder(options.ptbxl_plus, "--ptbxl-plus")
    if options.collection == "folder":
        options.refuse_unused(
            ("subjects", "codes", "censor_date", "ptbxl_plus"), "is not used with --collection folder; leave it out"
        )
        return [("--collection folder", FolderCollection(options))]
    if options.collection == "ptbxl" and options.ecg is None:
        raise UserError("--collection ptbxl: name the download with --ecg")
    ecg = None if options.ecg is None else require_folder(options.ecg, "--ecg")
    if ecg is None or not (options.collection == "ptbxl" or (options.collection is None and is_ptbxl(ecg))):
        options.refuse_unused(("ptbxl_plus",), "goes with a PTB-XL download; leave it out")
        return [("--ecg and --cmr", BiobankCollection(options))]
    if options.cmr is None:
        options.refuse_unused(_TABLES, "is not used for a PTB-XL download, whose tables say it all; leave it out")
        return [("PTB-XL", PTBXLCollection(ecg, plus))]
    return [("--cmr", BiobankCollection(replace(options, ecg=None))), ("PTB-XL", PTBXLCollection(ecg, plus))]


def _refuse_unnamed(folder: Path) -> None:
    """Refuse a download, or a folder in or above one, whose name is needed: file by file, one patient would be several.

    Raises:
        UserError: The folder is such a download or a part of one; the message says what to write.
    """
    known = known_download(folder)
    if known is None or (known.place == folder and is_ptbxl(folder)):  # which is taken as what it is
        return
    inside = "lies in" if folder.resolve().is_relative_to(known.place.resolve()) else "holds"
    where = f"holds {known.sign}" if known.place == folder else f"{inside} {known.place.name}, which holds {known.sign}"
    named = f"--collection {known.name}" + ("" if known.place == folder else f" --ecg {known.place}")
    raise UserError(
        f"--ecg {folder}: {where}, as the data set {known.name} does; write {named}, or --collection ukb to take "
        "each file for itself"
    )


def _built(options: PrepareOptions, name: str, entry: NamedCollection) -> Collection:
    """Build a collection of ``named_collections``.

    Raises:
        UserError: An option is missing that it needs, names no folder, or is given and would not be used.
    """
    flags = {field: options.flag_name(field) for field in CHOOSABLE}
    used = (*entry.needs, *entry.takes)
    takes = ", ".join(flags[field] for field in used)
    unused = tuple(field for field in CHOOSABLE if field not in used)
    options.refuse_unused(unused, f"is not used with --collection {name}, which takes {takes}")
    for field in used:
        value = getattr(options, field)
        if value is None and field in entry.needs:
            raise UserError(f"--collection {name}: name the download with {flags[field]}")
        if field in FOLDERS and value is not None:
            require_folder(value, flags[field])
    module, _, cls = entry.home.partition(":")
    built: Collection = vars(import_module(module))[cls](options)
    return built
