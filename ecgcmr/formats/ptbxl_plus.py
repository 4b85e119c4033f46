"""PTB-XL+: features of every recording of PTB-XL by three programs, as downloaded from PhysioNet.

``features/{12sl,unig,ecgdeli}_features.csv`` have a row a recording. The key ``ecg_id`` may stand anywhere among the
columns, and the rows are in no order. Strodthoff et al., Scientific Data 10:279, 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.plain_table import read_whole_table
from ecgcmr.formats.regular_file import refuse_special
from ecgcmr.formats.ukb_table import clean_id

PROVIDERS = ("12sl", "unig", "ecgdeli")
"""Marquette 12SL, Uni-G of the University of Glasgow, ECGdeli of the KIT."""
FEATURE_CHOICES = ("global", "all")
_KEY = "ecg_id"
_GLOBAL = "_global"


@dataclass(frozen=True)
class PlusFeatures:
    """The features of one program.

    Attributes:
        provider: One of ``PROVIDERS``.
        names: F names of columns as shipped.
        row_of: ``ecg_id`` -> its row.
        values: (n, F) float32, NaN where the program measured nothing or the number is infinite.
    """

    provider: str
    names: tuple[str, ...] = field(repr=False)
    row_of: dict[str, int] = field(repr=False)
    values: npt.NDArray[np.float32] = field(repr=False)

    def of(self, ecg_ids: list[str]) -> npt.NDArray[np.float32]:
        """Return (len(ecg_ids), F), NaN for recordings that the table lacks."""
        found = np.full((len(ecg_ids), len(self.names)), np.nan, dtype=np.float32)
        rows = [(place, self.row_of[one]) for place, one in enumerate(ecg_ids) if one in self.row_of]
        if rows:
            places, sources = zip(*rows, strict=True)
            found[list(places)] = self.values[list(sources)]
        return found


def read_plus(folder: str | Path, features: str = "global") -> tuple[PlusFeatures, ...]:
    """Read the feature tables that a PTB-XL+ folder has.

    Args:
        folder: The download, which holds ``features``, or that folder itself.
        features: ``global`` for what is measured over all leads together (columns that end in ``_Global``), ``all`` for
            every column, some two thousand.

    Raises:
        UserError: There is no such table, or one is damaged, lacks ``ecg_id`` or lists a recording twice.
    """
    if features not in FEATURE_CHOICES:
        raise UserError(f"features={features}: choose one of {', '.join(FEATURE_CHOICES)}")
    folder = Path(folder)
    folder = folder / "features" if (folder / "features").is_dir() else folder
    found = [_read(folder / f"{one}_features.csv", one, features) for one in PROVIDERS if _is_there(folder, one)]
    if not found:
        raise UserError(f"{folder.name}: holds none of {', '.join(f'{one}_features.csv' for one in PROVIDERS)}")
    return tuple(found)


def _is_there(folder: Path, provider: str) -> bool:
    refuse_special(folder / f"{provider}_features.csv")
    return (folder / f"{provider}_features.csv").is_file()


def _read(path: Path, provider: str, features: str) -> PlusFeatures:
    def is_wanted(column: str) -> bool:
        return column == _KEY or features == "all" or column.lower().endswith(_GLOBAL)

    frame = read_whole_table(path, is_wanted)
    if _KEY not in frame.columns:
        raise UserError(f"{path.name}: lacks column {_KEY}, so that nobody knows whose features they are")
    ids = [clean_id(one) if isinstance(one, str) else "" for one in frame.pop(_KEY)]
    row_of = {one: row for row, one in enumerate(ids) if one}
    if len(row_of) < sum(map(bool, ids)):
        raise UserError(f"{path.name}: ecg_id {max(filter(None, ids), key=ids.count)} is listed twice; keep one")
    values = frame.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64).reshape(len(ids), -1)
    with np.errstate(over="ignore"):
        stored = values.astype(np.float32)
    return PlusFeatures(provider, tuple(frame.columns), row_of, np.where(np.isfinite(stored), stored, np.nan))
