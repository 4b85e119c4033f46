"""Which collections a run prepares: the one that the user names, or what the folders show."""

from __future__ import annotations

from dataclasses import replace

from ecgcmr.errors import UserError
from ecgcmr.formats.ptbxl import is_ptbxl
from ecgcmr.named_class import build, load_class
from ecgcmr.preparation.collections.biobank import BiobankCollection
from ecgcmr.preparation.collections.folder import FolderCollection
from ecgcmr.preparation.collections.protocol import Collection
from ecgcmr.preparation.collections.ptbxl import PTBXLCollection
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.options import COLLECTIONS, PrepareOptions

METHODS = {"labels": (), "candidates": ("notes",)}
"""What a class needs to be a collection, and what its methods take."""
_TABLES = ("tables", "subjects", "codes", "censor_date", "labels")


def collections_for(options: PrepareOptions) -> list[tuple[str, Collection]]:
    """Return the collections of a run, each with what messages call it.

    Raises:
        UserError: A class cannot be had, or an option is given that its collection does not use.
    """
    if options.collection is not None and options.collection_is_foreign:
        if not set(options.collection) & set(":."):
            raise UserError(
                f"--collection {options.collection}: choose one of {', '.join(COLLECTIONS)}, or write "
                "package.module:Class"
            )
        options.refuse_unused(
            ("ecg", "cmr", *_TABLES), "is not used with a collection of your own, which gets --collection-args"
        )
        title = f"--collection {options.collection}"
        cls = load_class(options.collection, "--collection", METHODS)
        return [(title, build(cls, dict(options.collection_args), title))]
    if options.collection == "folder":
        options.refuse_unused(
            ("subjects", "codes", "censor_date"), "is not used with --collection folder; leave it out"
        )
        return [("--collection folder", FolderCollection(options))]
    if options.collection == "ptbxl" and options.ecg is None:
        raise UserError("--collection ptbxl: name the download with --ecg")
    ecg = None if options.ecg is None else require_folder(options.ecg, "--ecg")
    if ecg is None or not (options.collection == "ptbxl" or (options.collection is None and is_ptbxl(ecg))):
        return [("--ecg and --cmr", BiobankCollection(options))]
    if options.cmr is None:
        options.refuse_unused(_TABLES, "is not used for a PTB-XL download, whose tables say it all; leave it out")
        return [("PTB-XL", PTBXLCollection(ecg))]
    return [("--cmr", BiobankCollection(replace(options, ecg=None))), ("PTB-XL", PTBXLCollection(ecg))]
