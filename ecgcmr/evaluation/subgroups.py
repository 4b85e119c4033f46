"""Subgroups of test subjects: by sex, age band, heart rate band and signal quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ecgcmr.errors import UserError
from ecgcmr.text import printable

AGE_EDGES = (50.0, 60.0, 70.0)
HEART_RATE_EDGES = (60.0, 80.0, 100.0)
QUALITY_EDGES = (0.5, 0.75, 0.9)
_SEXES = {"0": "women", "1": "men", "female": "women", "male": "men", "f": "women", "m": "men"}
_UNKNOWN = "unknown"


def subgroups_of(covariates: Mapping[str, NDArray]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Split subjects by each covariate.

    Args:
        covariates: Name -> (n,) values, None where unknown: ``sex`` (0 or female, 1 or male), ``age`` in years,
            ``heart_rate`` in 1/min, ``signal_quality`` (an index from 0 to 1, or words).

    Returns:
        Attribute -> name of the subgroup -> (n,) membership. Bands hold their lower edge and not their upper.
        Subjects whose value is missing form the subgroup "unknown".

    Raises:
        UserError: If a value is none of these.
    """
    made: dict[str, dict[str, NDArray[np.bool_]]] = {}
    for name, values in covariates.items():
        known = np.array([value is not None for value in values], dtype=bool)
        if name == "sex":
            groups = _by_sex(values, known)
        elif name == "age":
            groups = _bands(values, known, AGE_EDGES, "years", name)
        elif name == "heart_rate":
            groups = _bands(values, known, HEART_RATE_EDGES, "/min", name)
        else:
            groups = _by_quality(values, known)
        if not known.all():
            groups[_UNKNOWN] = ~known
        made[name] = groups
    return made


def _by_sex(values: NDArray, known: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    names = np.full(len(known), "", dtype=object)
    for place in np.flatnonzero(known):
        value = values[place]
        text = f"{value:g}" if isinstance(value, (int, float)) else str(value).strip().lower()
        if text not in _SEXES:
            raise UserError(f"table of predictions: sex is '{printable(value, 60)}'; write 0 or female, 1 or male")
        names[place] = _SEXES[text]
    return {sex: names == sex for sex in ("women", "men") if (names == sex).any()}


def _by_quality(values: NDArray, known: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    if all(isinstance(value, (int, float)) for value in np.asarray(values, dtype=object)[known]):
        return _bands(values, known, QUALITY_EDGES, "", "signal_quality")
    words = np.array([str(value) if there else "" for value, there in zip(values, known, strict=True)], dtype=object)
    return {str(word): words == word for word in sorted(set(words[known]))}


def _bands(
    values: NDArray, known: NDArray[np.bool_], edges: Sequence[float], unit: str, name: str
) -> dict[str, NDArray[np.bool_]]:
    try:
        numbers = np.array([float(value) if there else np.nan for value, there in zip(values, known, strict=True)])
    except ValueError as error:
        raise UserError(f"{name} holds text; it must hold numbers") from error
    place = np.where(known, np.digitize(numbers, edges), -1)
    titles = [f"under {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in zip(edges, edges[1:], strict=False))]
    titles = [*(f"{title} {unit}".strip() for title in titles), f"{edges[-1]:g} {unit} and over".replace("  ", " ")]
    return {title: place == band for band, title in enumerate(titles) if (place == band).any()}
