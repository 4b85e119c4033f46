"""The data sets that this program knows by name: for each what it is, its class, and which options it takes.

An entry is all that a further one needs, besides its class in ``collections/``. The class is built with the
``PrepareOptions`` of the run and is imported only when it is asked for, so that names and help cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

_COLLECTIONS = "ecgcmr.preparation.collections"


@dataclass(frozen=True)
class NamedCollection:
    """One entry.

    Attributes:
        about: What it is, in a line of the help.
        home: Its class, ``package.module:Class``; empty for the three that ``choice`` makes itself.
        needs: Options without which there is nothing to prepare, as fields of ``PrepareOptions``.
        takes: Further options that it uses; all others of ``CHOOSABLE`` are refused.
        part: What stands behind a colon after its name, such as ``SLUG``; empty where nothing may.
        known_by: Patterns of names of files, in lower case and without ``.gz``: a folder that has all of one group is
            such a download.
    """

    about: str
    home: str = ""
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    part: str = ""
    known_by: tuple[tuple[str, ...], ...] = ()


CHOOSABLE = (
    "ecg",
    "cmr",
    "echo",
    "echo_days",
    "ptbxl_plus",
    "tables",
    "subjects",
    "partial_subjects",
    "codes",
    "censor_date",
    "labels",
    "recordings",
    "reader",
    "declaration",
    "collection_args",
)
"""Options that not every collection uses."""

COLLECTIONS: dict[str, NamedCollection] = {
    "ukb": NamedCollection("folders of ECG files and images with tables of participants, as in UK Biobank"),
    "folder": NamedCollection("a folder with one table that has a row for each recording"),
    "ptbxl": NamedCollection(
        "PTB-XL as downloaded (--ecg), with features of PTB-XL+ if given (--ptbxl-plus)",
        known_by=(("ptbxl_database.csv",),),
    ),
    "echonext": NamedCollection(
        "EchoNext as downloaded (--ecg): table and arrays of its splits",
        f"{_COLLECTIONS}.echonext:EchoNextCollection",
        needs=("ecg",),
        known_by=(("echonext_metadata_*.csv",), ("echonext_*_waveforms.npy",)),
    ),
    "mimic-iv-ecg": NamedCollection(
        "MIMIC-IV-ECG as downloaded (--ecg), with MIMIC-IV-ECHO's table of measurements if given (--echo)",
        f"{_COLLECTIONS}.mimic_ecg:MimicECGCollection",
        needs=("ecg",),
        takes=("echo", "echo_days"),
        known_by=(("record_list.csv",), ("record-list.csv",)),
    ),
    "code15": NamedCollection(
        "CODE-15 % or SaMi-Trop as downloaded and unpacked (--ecg)",
        f"{_COLLECTIONS}.code15:Code15Collection",
        needs=("ecg",),
        known_by=(("exams.csv", "exams*.hdf5"), ("exams.csv", "exams_part*.zip"), ("exams_part*.hdf5",)),
    ),
    "acdc": NamedCollection(
        "ACDC as downloaded (--cmr): cines, groups, volumes by its segmentations",
        f"{_COLLECTIONS}.acdc:ACDCCollection",
        needs=("cmr",),
    ),
    "mnms": NamedCollection(
        "M&Ms as downloaded (--cmr): cines, table, volumes by its segmentations",
        f"{_COLLECTIONS}.mnms:MnMsCollection",
        needs=("cmr",),
    ),
    "mnms2": NamedCollection(
        "M&Ms-2 as downloaded (--cmr): cines, table, volumes by its segmentations; also --view 4ch",
        f"{_COLLECTIONS}.mnms2:MnMs2Collection",
        needs=("cmr",),
    ),
    "dsb2015": NamedCollection(
        "Second Annual Data Science Bowl as unpacked (--cmr): DICOM folders, volumes; also --view 2ch and 4ch",
        f"{_COLLECTIONS}.dsb2015:DSB2015Collection",
        needs=("cmr",),
    ),
    "challenge2021": NamedCollection(
        "PhysioNet Challenge 2021 or Chapman-Shaoxing-Ningbo as downloaded (--ecg)",
        f"{_COLLECTIONS}.challenge2021:Challenge2021Collection",
        needs=("ecg",),
    ),
    "ecgbench": NamedCollection(
        "a 12-lead collection that the library ecgbench describes (--ecg)",
        f"{_COLLECTIONS}.ecgbench:EcgbenchCollection",
        needs=("ecg",),
        part="SLUG",
    ),
}
"""Name -> entry."""


def named_collection(name: str | None) -> NamedCollection | None:
    """Return the entry of a name as a user writes it; None if it is none of these.

    Args:
        name: Such as ``echonext``, or ``ecgbench:SLUG`` where an entry has a part.
    """
    first, colon, _ = (name or "").partition(":")
    entry = COLLECTIONS.get(first)
    return None if entry is None or (colon and not entry.part) else entry


def collection_names() -> list[str]:
    """Return all names, each with its part, as messages list them."""
    return [f"{name}:{entry.part}" if entry.part else name for name, entry in COLLECTIONS.items()]
