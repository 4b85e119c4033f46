"""How the heart shapes its ECG: one table that links each electrical parameter to anatomy, function and constitution.

Every parameter is ``value = form(centre, scale * (sum of coefficient * driver + own variation))`` with standardised
drivers and a standard normal variation of its own, so a coefficient reads as signal-to-noise ratio. The reasons, with
sources, stand in docs/synthesis.md. Spread of the parameter that is not the heart's (``variation``) is as large as or
larger than any single link: information lies in many small traces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ecgcmr.synthesis.heart import mean_wall_thickness
from ecgcmr.synthesis.state import ECG_VARIATION, CardiacState


@dataclass(frozen=True)
class Link:
    """One electrical parameter.

    Attributes:
        name: What it is called in ``electrical_parameters``.
        unit: Unit of the value; empty for a factor.
        centre: Value where all drivers and the variation are 0.
        scale: Size of one unit of the weighted sum: added to ``centre``, or in the exponent if ``factor``.
        drivers: Coefficient of each standardised driver.
        factor: The value is ``centre * exp(scale * sum)`` rather than ``centre + scale * sum``.
    """

    name: str
    unit: str
    centre: float
    scale: float
    drivers: dict[str, float] = field(default_factory=dict)
    factor: bool = False


LINKS: tuple[Link, ...] = (
    Link("path", "", 1.0, 0.070, {"size": 1.0, "ef": -0.88, "male": 0.3}, factor=True),
    Link("transmural", "", 1.0, 0.090, {"thick": 1.1, "mass": 0.3}, factor=True),
    Link("lv_voltage", "", 1.0, 0.150, {"mass": 1.1, "bsa": -0.3, "age": -0.2}, factor=True),
    Link("rv_voltage", "", 1.0, 0.220, {"rv_pressure": 0.8, "rv_size": 0.5}, factor=True),
    Link("rv_delay", "ms", 0.0, 4.5, {"rv_size": 0.9, "rv_ef": -0.88}),
    Link("frontal_turn", "deg", 12.0, 9.0, {"rv_pressure": 0.7, "mass": -0.4, "age": -0.3, "ef": 0.38}),
    Link("horizontal_turn", "deg", 0.0, 8.0, {"rv_size": 0.5, "size": 0.5, "ef": -0.62}),
    Link("apex", "", 1.0, 0.140, {"size": 0.9, "ef": 0.38}, factor=True),
    Link("proximity", "", 0.0, 0.110, {"size": 0.8, "mass": 0.4, "bsa": -0.3}),
    Link("septal", "", 1.0, 0.240, {"ef": 0.88, "thick": 0.4}, factor=True),
    Link("basal", "", 1.0, 0.200, {"mass": 0.6, "size": 0.4, "rv_ef": -0.38}, factor=True),
    Link("notch", "mV", 0.03, 0.050, {"ef": -1.0, "scar": 0.5}),
    Link("qtc", "ms", 414.0, 15.0, {"male": -0.5, "ef": -0.62, "mass": 0.4, "age": 0.2}),
    Link("t_gain", "", 1.0, 0.230, {"ef": 1.0, "male": 0.4, "bmi": -0.2, "rate": -0.3, "diabetes": -0.2}, factor=True),
    Link("t_secondary", "", 0.55, 0.220, {"mass": 0.8, "pressure": 0.3}, factor=True),
    Link("t_horizontal", "deg", 0.0, 15.0, {"rv_ef": -1.0, "rv_size": 0.4, "male": -0.5}),
    Link("t_frontal", "deg", 0.0, 13.0, {"size": 0.5, "mass": 0.4}),
    Link("t_width", "", 1.0, 0.100, {"ef": -0.75, "size": 0.4}, factor=True),
    Link("t_skew", "", 1.5, 0.130, {"male": 0.8, "size": 0.3, "rv_ef": 0.38}, factor=True),
    Link("st_level", "mV", 0.02, 0.025, {"male": 0.6, "mass": -0.5, "ef": 0.62}),
    Link("pr", "ms", 158.0, 17.0, {"age": 0.3, "la": 0.4, "size": 0.4, "rate": -0.3}),
    Link("p_duration", "", 1.0, 0.085, {"la": 1.0, "age": 0.2}, factor=True),
    Link("p_left", "", 1.0, 0.260, {"la": 0.8, "ef": -0.38}, factor=True),
    Link("p_right", "", 1.0, 0.240, {"ra": 0.8, "rv_pressure": 0.4}, factor=True),
    Link("p_turn", "deg", 0.0, 12.0, {"rv_pressure": 0.4, "bmi": -0.3, "ra": 0.3}),
    Link("sinus_arrhythmia", "", 0.030, 0.40, {"age": -0.4, "ef": 0.38, "diabetes": -0.5}, factor=True),
    Link("fibrillation_wave", "mV", 0.065, 0.35, {"la": -0.3}, factor=True),
    Link("fibrillation_rate", "Hz", 6.3, 0.10, {"age": -0.2}, factor=True),
)

_DRIVERS: dict[str, Callable[[CardiacState], np.ndarray]] = {
    "size": lambda s: np.log(s.chambers.lv_edv / 145) / 0.24,
    "mass": lambda s: np.log(s.chambers.lv_mass / 88) / 0.27,
    "thick": lambda s: np.log(mean_wall_thickness(s.chambers.lv_edv, s.chambers.lv_mass) / 5.9) / 0.16,
    "ef": lambda s: (s.chambers.lv_ef - 57.5) / 7.5,
    "rv_size": lambda s: np.log(s.chambers.rv_edv / 158) / 0.27,
    "rv_ef": lambda s: (s.chambers.rv_ef - 54.7) / 6.8,
    "rv_pressure": lambda s: (s.chambers.rv_pressure - 26.5) / 7.0,
    "la": lambda s: np.log(s.chambers.la_max / 73) / 0.28,
    "ra": lambda s: np.log(s.chambers.ra_max / 87) / 0.29,
    "scar": lambda s: (s.disease.scar_extent - 0.017) / 0.06,
    "age": lambda s: (s.body.age - 64.5) / 7.7,
    "male": lambda s: (s.body.sex - 0.5) * 2,
    "bsa": lambda s: (s.body.surface_area - 1.87) / 0.22,
    "bmi": lambda s: (s.body.bmi - 26.8) / 4.2,
    "pressure": lambda s: (s.body.systolic_pressure - 138) / 18,
    "rate": lambda s: (s.body.heart_rate - 64.5) / 9.5,
    "diabetes": lambda s: s.disease.diabetes,
}
"""Standardised drivers: about mean 0 and SD 1 in the cohort (diabetes: 0 or 1)."""

_LIMIT = 4.5
"""Weighted sums are limited to this many units, so that no rare heart leaves the range of a living one."""


def standardised_drivers(state: CardiacState) -> dict[str, np.ndarray]:
    """Return every driver of the links, each (N,)."""
    return {name: driver(state) for name, driver in _DRIVERS.items()}


def electrical_parameters(state: CardiacState) -> dict[str, np.ndarray]:
    """Return every electrical parameter in its own unit, each (N,), from the state and its own variation."""
    if len(LINKS) > ECG_VARIATION:
        raise ValueError(f"{len(LINKS)} links need as many columns of variation, the state has {ECG_VARIATION}")
    drivers = standardised_drivers(state)
    values: dict[str, np.ndarray] = {}
    for column, link in enumerate(LINKS):
        total = state.recording.variation[:, column].copy()
        for name, coefficient in link.drivers.items():
            total += coefficient * drivers[name]
        total = link.scale * np.clip(total, -_LIMIT, _LIMIT)
        values[link.name] = link.centre * np.exp(total) if link.factor else link.centre + total
    return values
