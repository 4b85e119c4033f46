"""What of a person a model may take beside the ECG: sex, age and covariates. Nothing that names anybody."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SEX_CODES = {"female": 0.0, "male": 1.0}
"""As labels of cohorts have it."""


@dataclass(frozen=True)
class Person:
    """Whose recording it is, as far as it matters.

    Attributes:
        sex: ``female``, ``male`` or None.
        age: In years; None if unknown.
        covariates: Others by the names that the model has, in their units; those that are missing are unknown.
    """

    sex: str | None = None
    age: float | None = None
    covariates: Mapping[str, float] = field(default_factory=dict)

    def values(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return (C,) covariates in the order of a model's, NaN where unknown; ``sex`` is 0 female, 1 male."""
        known = {"sex": SEX_CODES.get(self.sex or "", math.nan), "age": math.nan if self.age is None else self.age}
        known |= self.covariates
        return np.array([known.get(name, math.nan) for name in names], dtype=np.float64)

    def over(self, other: Person) -> Person:
        """Return this person, completed by what another description says."""
        sex, age = self.sex or other.sex, other.age if self.age is None else self.age
        return Person(sex, age, {**other.covariates, **self.covariates})


NOBODY = Person()
