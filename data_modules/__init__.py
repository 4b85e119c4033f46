"""The order in which shards are read, and the LightningDataModules that stream them to a device."""

from data_modules.cmr import CMRDataModule
from data_modules.ecg import ECGDataModule
from data_modules.labelled import LabelledDataModule
from data_modules.measured import MeasuredDataModule
from data_modules.paired import PairedDataModule
from ecgcmr.windows import cut_windows, window_starts
