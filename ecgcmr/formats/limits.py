"""Bounds on what a raw ECG file may claim, so that a damaged or hostile one costs neither memory nor time.

A header is believed only after its numbers were checked against these bounds and against the length of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.formats.gzip_file import unpacked
from ecgcmr.formats.regular_file import require_regular

MAX_LEADS = 64
MAX_SAMPLES = 2_000_000  # per lead: over an hour at 500 Hz
MAX_VALUES = 12_000_000  # twelve leads of 33 minutes at 500 Hz: 96 MB in double precision
MAX_FILE_BYTES = 64 * 2**20
_TOO_LONG = f"claims more than {MAX_SAMPLES} samples a lead or {MAX_VALUES} in all; cut long recordings into parts"
_RATES = (1.0, 100_000.0)


def read_content(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Read a whole file, unpacked if it is gzip, that is not longer than the limit.

    Raises:
        UserError: It is longer, no file, or gzip and damaged.
        OSError: It cannot be read.
    """
    require_regular(path)
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) <= limit:
        content = unpacked(content, limit)
    if len(content) > limit:
        bound = f"{limit // 2**20} MB" if limit >= 2**20 else f"{limit // 2**10} KB"
        raise UserError(f"is larger than {bound}, which no file of this kind for a resting ECG is")
    return content


def check_size(leads: int, samples: int) -> None:
    """Refuse a recording that is empty or larger than any this program reads.

    Raises:
        UserError: No lead, no sample, or too many.
    """
    if leads < 1 or samples < 1:
        raise UserError("holds no samples")
    if leads > MAX_LEADS:
        raise UserError(f"claims more than {MAX_LEADS} leads; the header is damaged or this is no ECG")
    if samples > MAX_SAMPLES:
        raise UserError(_TOO_LONG)
    check_values(leads * samples)


def check_values(count: int) -> None:
    """Refuse more samples of all leads together than any recording has that this program reads.

    Raises:
        UserError: There are.
    """
    if count > MAX_VALUES:
        raise UserError(_TOO_LONG)


def check_rate(sampling_rate: float) -> None:
    """Refuse a sampling rate that is not a finite number within 1 Hz to 100 kHz.

    Raises:
        UserError: It is not.
    """
    if not _RATES[0] <= sampling_rate <= _RATES[1]:
        raise UserError(f"sampling rate of {sampling_rate:g} Hz; expected {_RATES[0]:g} to {_RATES[1]:g}")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's own name before each error, and turn errors of the system into a ``UserError``."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from error
    except OSError as error:
        raise UserError(f"{path.name}: cannot be read ({error.strerror or type(error).__name__})") from error
