"""What a bare signal file gives before its declaration gives it a meaning."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.signal_declaration import DECLARATION_FILE, SignalDeclaration
from ecgcmr.formats.units import millivolts_per

_CLOSE = 0.02
_TIME_UNITS = (1.0, 1e3, 1e6, 1e9)  # a column of times may be in s, ms, us or ns


@dataclass(frozen=True)
class LoadedSignal:
    """Numbers of a file whose unit and rate are declared elsewhere.

    Attributes:
        leads: Names of the leads.
        values: (leads, T) float64 in the file's unit.
        units: Units that the file states of its columns.
        step: What its column of times grows by from sample to sample; None if there is no such column.
        others: Names of columns that are neither leads nor times.
    """

    leads: tuple[str, ...]
    values: npt.NDArray[np.float64] = field(repr=False)
    units: tuple[str, ...] = ()
    step: float | None = None
    others: tuple[str, ...] = ()

    def check(self, declaration: SignalDeclaration) -> None:
        """Refuse a declaration that contradicts what the file says of itself.

        Raises:
            UserError: The file states another unit, or its times run at another rate.
        """
        declared = millivolts_per(declaration.unit)
        for unit in self.units:
            if abs(millivolts_per(unit) / declared - 1) > 1e-9:
                raise UserError(
                    f"states the unit {unit} of a column, but {declaration.unit} is declared; correct one of them"
                )
        rate = declaration.sampling_rate
        counts = self.step is None or not self.step > 0 or abs(self.step - 1) < 1e-6  # numbers of samples, or no times
        if self.step is not None and not counts and not _fits(self.step * rate):
            raise UserError(
                f"its column of times grows by {self.step:.4g} a sample, which is not the declared rate of {rate:g} Hz "
                "in s, ms or us; correct `sampling_rate`"
            )


def leads_are_rows(shape: tuple[int, int], declared: tuple[str, ...]) -> bool:
    """Tell whether an array is (leads, T), not (T, leads), by the number of leads that are declared.

    Raises:
        UserError: None are declared, or neither side or both are as long.
    """
    if not declared:
        raise UserError(f"an array names no leads; declare `leads` in {DECLARATION_FILE} beside it")
    rows, columns = shape
    if (rows == len(declared)) == (columns == len(declared)):
        raise UserError(f"has shape {rows} x {columns}, of which one must be the {len(declared)} declared leads")
    return rows == len(declared)


def _fits(step: float) -> bool:
    """Tell whether a step in sampling intervals is one interval in some unit of time."""
    return any(abs(step / unit - 1) < _CLOSE for unit in _TIME_UNITS)
