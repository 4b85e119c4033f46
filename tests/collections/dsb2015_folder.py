"""A tiny folder in the layout of the Data Science Bowl of 2015: {part}/{part}/ID/study/{sax,2ch,4ch}_N/*.dcm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from cine_zip_writer import NORMAL, SLICE_GAP, Series, dicom_bytes, frame_dataset

from ecgcmr.synthesis.phantom import Cine


def slices_of(heart: Cine, patient: int) -> list[Series]:
    """Return a series for each slice of the short axis, from the base, described as the competition's files are."""
    start = np.array([100.0, -90.0, 60.0])
    return [
        Series(
            heart.volume[:, :, z],
            "sax",
            5 + z,
            start - z * SLICE_GAP * NORMAL,
            uid=f"1.2.3.{patient}.{5 + z}",
            spacing=heart.spacing_mm[:2],
        )
        for z in range(heart.volume.shape[2])
    ]


def write_series(study: Path, name: str, series: Series) -> None:
    """Write the frames of a series into a folder of the study."""
    folder = study / name
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(series.pictures.shape[2]):
        file = folder / f"IM-{1000 + series.number}-{len(list(folder.iterdir())) + 1:04d}.dcm"
        file.write_bytes(dicom_bytes(frame_dataset(series, t)))


def write_patient(root: Path, part: str, patient: int, heart: Cine, write: Callable | None = None) -> Path:
    """Write one patient and return the folder ``study``; ``write(study, series)`` in place of a folder a slice."""
    study = root / part / part / str(patient) / "study"
    series = slices_of(heart, patient)
    if write is None:
        for one in series:
            write_series(study, f"sax_{one.number}", one)
    else:
        write(study, series)
    middle = series[len(series) // 2]
    for number, view in ((40, "2ch"), (41, "4ch")):
        long_axis = replace(middle, description=view, number=number, uid=f"1.2.3.{patient}.{number}")
        write_series(study, f"{view}_{number}", long_axis)
    return study


def write_tables(root: Path, volumes: dict[str, dict[int, tuple[float, float]]]) -> None:
    """Write ``train.csv`` and ``validate.csv`` (Id,Systole,Diastole) and, of ``test``, ``solution.csv``."""
    for part, rows in volumes.items():
        if part == "test":
            lines = ["Id,Volume,Usage"]
            for patient, (systole, diastole) in rows.items():
                lines += [f"{patient}_Diastole,{diastole},Public", f"{patient}_Systole,{systole},Public"]
        else:
            lines = ["Id,Systole,Diastole", *(f"{patient},{s},{d}" for patient, (s, d) in rows.items())]
        name = "solution.csv" if part == "test" else f"{part}.csv"
        (root / name).write_text("\n".join(lines) + "\n")
