"""Reading what hospitals and biobanks write: bytes to typed records."""

from ecgcmr.formats.cardiosoft import read_cardiosoft
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.formats.nifti import read_short_axis
from ecgcmr.formats.ptbxl import PTBXLRecord, is_ptbxl, read_ptbxl
from ecgcmr.formats.record import ECGRecord, ShortAxis
from ecgcmr.formats.ukb_table import Column, Table, parse_column, read_table
from ecgcmr.formats.wfdb_record import read_wfdb

__all__ = [
    "Column",
    "ECGRecord",
    "PTBXLRecord",
    "ShortAxis",
    "Table",
    "is_ptbxl",
    "parse_column",
    "read_cardiosoft",
    "read_ecg",
    "read_ptbxl",
    "read_short_axis",
    "read_table",
    "read_wfdb",
]
