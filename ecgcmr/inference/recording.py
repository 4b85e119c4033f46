"""From a recording of any kind to what a model sees, by its recipe and the functions that cohorts are made with.

Reading is ``formats.read_ecg``, leads, rate and length are ``preparation.standard_windows``, cleaning and rounding are
``preparation.stored_ecg``: the same that ``preparation.rows`` calls, so that there is one rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.formats.ecg_reader import NamedReader
from ecgcmr.formats.lead_names import standard_lead
from ecgcmr.formats.record import ECGRecord, ecg_record
from ecgcmr.formats.signal_declaration import SignalDeclaration
from ecgcmr.formats.units import millivolts_per
from ecgcmr.inference.model_entries import Preparation
from ecgcmr.inference.verdict import Verdict, judge_window
from ecgcmr.leads import LEADS
from ecgcmr.preparation.cleaning import Cleaning
from ecgcmr.preparation.ecg import LEAST_SHARE, StandardECG, StandardOptions, standard_windows
from ecgcmr.preparation.lead_quality import assess_leads
from ecgcmr.preparation.stored_ecg import stored_ecg

Source = str | Path | ECGRecord | NDArray
"""A file (also one in memory, ``formats.memory_file``), a record, or an array (leads, T)."""


@dataclass(frozen=True)
class PreparedECG:
    """One window of a recording, as a model sees it.

    Attributes:
        signal: (12, T) in the recipe's unit and type of storage, as a shard has it.
        window: The same before cleaning, in mV.
        verdict: On the window before cleaning.
        lead_mask: (12,) bool, False = left out; None where the model sees all leads.
    """

    signal: NDArray[np.floating] = field(repr=False)
    window: StandardECG = field(repr=False)
    verdict: Verdict
    lead_mask: NDArray[np.bool_] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PreparedRecording:
    """What became of one recording.

    Attributes:
        name: The file's own name, or empty.
        windows: One; several where the recipe takes all of a long recording; none if it cannot be prepared.
        verdict: On the recording: that on its first window, or why there is none.
    """

    name: str
    windows: tuple[PreparedECG, ...]
    verdict: Verdict


class Preparer:
    """Prepares recordings by the recipe of a model; may be sent to other processes and called from several threads."""

    def __init__(self, preparation: Preparation) -> None:
        """Take the recipe.

        Raises:
            UserError: Its cleaning is not known.
        """
        self.preparation = preparation
        self._cleaning = Cleaning.from_dict(preparation.cleaning)
        self._standard = StandardOptions(
            preparation.samples, preparation.sampling_rate, preparation.short, preparation.window
        )

    def prepare(self, record: ECGRecord, name: str = "") -> PreparedRecording:
        """Prepare a recording and judge it.

        Args:
            record: As read.
            name: The file's own name.

        Returns:
            Its windows; without any where the preparation refuses it, and ``verdict.refused`` says why.
        """
        try:
            found = standard_windows(record, self._standard)
            cleaning = Cleaning(self._cleaning.steps)  # one for each call: it has memory of its own
            windows = tuple(self._window(window, cleaning) for window in found)
        except UserError as error:
            return PreparedRecording(name, (), Verdict(refused=str(error)))
        return PreparedRecording(name, windows, windows[0].verdict)

    def _window(self, window: StandardECG, cleaning: Cleaning) -> PreparedECG:
        recipe = self.preparation
        signal = stored_ecg(window, cleaning, recipe.dtype)
        verdict = judge_window(window, LEAST_SHARE) if recipe.short == "pad" else judge_window(window)
        mask = None
        if recipe.leave_out_leads:
            quality = assess_leads(window.signal, window.sampling_rate, (), window.derived)
            mask = ~np.any([quality.has(flag) for flag in recipe.leave_out_leads], axis=0)
        return PreparedECG(signal, window, verdict, mask)


def record_of(
    source: Source,
    *,
    sampling_rate: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | None = None,
    reader: NamedReader | None = None,
) -> ECGRecord:
    """Return the recording that a source holds.

    Args:
        source: A file; of a bare one (CSV, NumPy, Parquet) the options say what ``ecg.yaml`` beside it would. A record,
            which says all itself. An array (leads, T), NaN = not recorded.
        sampling_rate: Hz; needed for an array.
        leads: Names of the leads in the order of the array or file; the twelve standard ones in their order if None and
            an array has twelve rows.
        unit: V, mV, uV or nV, after a factor if need be (``4.88 uV``); needed for an array.
        reader: A reader of the user's own, which reads the files that it accepts.

    Raises:
        UserError: The file cannot be read, or an option is missing or goes with something else.
    """
    options = {"sampling_rate": sampling_rate, "leads": leads, "unit": unit}
    given = [name for name, value in options.items() if value is not None]
    if isinstance(source, ECGRecord):
        if given:
            raise UserError(f"{given[0]}: a record says it itself; leave it out")
        return source
    if isinstance(source, str | Path):
        declaration = None
        if given:
            if sampling_rate is None or unit is None:
                raise UserError("a file whose rate, unit or leads are given needs sampling_rate and unit")
            declaration = SignalDeclaration(tuple(leads or ()), unit, float(sampling_rate))
        return read_ecg(source, declaration, reader)
    return _array_record(np.asarray(source), sampling_rate, leads, unit)


def _array_record(
    array: NDArray, sampling_rate: float | None, leads: Sequence[str] | None, unit: str | None
) -> ECGRecord:
    if sampling_rate is None or unit is None:
        raise UserError("an array needs sampling_rate (Hz) and unit (V, mV, uV or nV)")
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise UserError(f"an array of {array.dtype} {array.shape}: it must hold numbers, (leads, samples)")
    names = LEADS if leads is None and len(array) == len(LEADS) else tuple(leads or ())
    if len(names) != len(array):
        raise UserError(f"an array of {len(array)} rows for {len(names)} leads; name them with leads=[...]")
    standard = tuple(standard_lead(str(name)) for name in names)
    return ecg_record(array.astype(np.float64) * millivolts_per(unit), standard, float(sampling_rate))


def prepared_inputs(
    preparer: Preparer,
    x: Source | Sequence[Source],
    *,
    sampling_rate: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | None = None,
) -> tuple[list[PreparedRecording], bool]:
    """Prepare one source or several.

    Args:
        preparer: Of the model.
        x: A source, a list of sources, or an array (n, leads, T).
        sampling_rate: As of ``record_of``; for those of a list that are no records.
        leads: As ``sampling_rate``.
        unit: As ``sampling_rate``.

    Returns:
        What became of each, and whether several were given. Of several, one that cannot be read has no windows.

    Raises:
        UserError: The only one cannot be read.
    """
    if isinstance(x, str | Path | ECGRecord) or (isinstance(x, np.ndarray) and x.ndim != 3):
        record = record_of(x, sampling_rate=sampling_rate, leads=leads, unit=unit)
        return [preparer.prepare(record, name_of(x))], False
    prepared = []
    for one in x:
        try:
            if isinstance(one, ECGRecord):
                record = one
            else:
                record = record_of(one, sampling_rate=sampling_rate, leads=leads, unit=unit)
        except UserError as error:
            prepared.append(PreparedRecording(name_of(one), (), Verdict(refused=str(error))))
            continue
        prepared.append(preparer.prepare(record, name_of(one)))
    return prepared, True


def name_of(source: Source) -> str:
    """Return the file's own name; empty for a record or an array."""
    return source.name if isinstance(source, Path) else Path(source).name if isinstance(source, str) else ""
