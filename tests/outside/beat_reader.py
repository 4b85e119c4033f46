"""The files of an invented recorder: ``BEAT``, the rate, the number of leads, then samples in steps of 5 uV."""

from pathlib import Path

import numpy as np

from ecgcmr.errors import UserError
from ecgcmr.formats import ECGRecord

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


class BeatReader:
    """Reads ``.beat`` files."""

    def accepts(self, path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(4) == b"BEAT"

    def read(self, path: Path) -> ECGRecord:
        content = path.read_bytes()
        rate, count = np.frombuffer(content, "<u2", 2, offset=4)
        samples = np.frombuffer(content, "<i2", offset=8)
        if count != len(LEADS) or len(samples) % count:
            raise UserError(f"has {count} leads and {len(samples)} samples, not whole columns of {len(LEADS)} leads")
        return ECGRecord(samples.reshape(-1, count).T * 0.005, LEADS, float(rate))
