"""Reading what hospitals and biobanks write: bytes to typed records."""

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
