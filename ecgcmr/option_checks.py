"""Options that are out of their range or none of the choices, refused in one line that names them."""

from __future__ import annotations

from collections.abc import Sequence

from ecgcmr.errors import UserError


def check_least(least: float, **options: float) -> None:
    """Raise UserError if an option, given by its name, is below the least value that it may have."""
    for name, value in options.items():
        if not value >= least:
            raise UserError(f"{name} {value}: must be at least {least}")


def check_choice(choices: Sequence[str], **options: str) -> None:
    """Raise UserError if an option, given by its name, is none of the choices."""
    for name, value in options.items():
        if value not in choices:
            raise UserError(f"{name} {value!r}: choose one of {', '.join(choices)}")
