"""Reading what hospitals and biobanks write: bytes to typed records.

Modules are imported when they are asked for: who reads ECGs needs no reader of images and tables.
"""

from typing import TYPE_CHECKING

from ecgcmr.names_on_demand import names_on_demand

if TYPE_CHECKING:
    from ecgcmr.formats.dicom_cine import read_cine_zip
    from ecgcmr.formats.ecg_file import ecg_files, read_ecg
    from ecgcmr.formats.ecg_kind import ECGKind, identify_ecg
    from ecgcmr.formats.nifti import read_short_axis
    from ecgcmr.formats.ptbxl import PTBXLRecord, is_ptbxl, read_ptbxl
    from ecgcmr.formats.record import ECGRecord, ShortAxis
    from ecgcmr.formats.short_axis_file import cmr_files, cmr_kind, read_cmr
    from ecgcmr.formats.signal_declaration import SignalDeclaration, load_declaration
    from ecgcmr.formats.ukb_columns import Column, parse_column
    from ecgcmr.formats.ukb_table import Table, read_table

_HOMES = {
    "read_cine_zip": "dicom_cine",
    "ecg_files": "ecg_file",
    "read_ecg": "ecg_file",
    "ECGKind": "ecg_kind",
    "identify_ecg": "ecg_kind",
    "read_short_axis": "nifti",
    "PTBXLRecord": "ptbxl",
    "is_ptbxl": "ptbxl",
    "read_ptbxl": "ptbxl",
    "ECGRecord": "record",
    "ShortAxis": "record",
    "cmr_files": "short_axis_file",
    "cmr_kind": "short_axis_file",
    "read_cmr": "short_axis_file",
    "SignalDeclaration": "signal_declaration",
    "load_declaration": "signal_declaration",
    "Column": "ukb_columns",
    "parse_column": "ukb_columns",
    "Table": "ukb_table",
    "read_table": "ukb_table",
}
__getattr__, __dir__ = names_on_demand(__name__, _HOMES)
