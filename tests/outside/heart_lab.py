"""A data set as a laboratory might have it: a recording a line of ``visits.csv``, splits by hospital."""

import csv
from collections.abc import Iterator
from pathlib import Path

from ecgcmr.preparation.collections import Candidate, DeclaredLabel, SearchNotes

SPLIT_OF_HOSPITAL = {"north": "train", "south": "val", "west": "test"}


class HeartLab:
    """The recordings below a folder."""

    def __init__(self, folder: Path, least_quality: int = 0) -> None:
        self.folder = folder
        self.least_quality = least_quality

    def labels(self) -> list[DeclaredLabel]:
        return [
            DeclaredLabel("ejection", unit="%", low=5, high=90, group="LV", title="Ejection fraction"),
            DeclaredLabel("smoker", "yes/no", group="habits"),
            DeclaredLabel("rhythm", "one of several", classes=("sinus", "af")),
            DeclaredLabel("stroke", "event with time", time_unit="days"),
            DeclaredLabel("age", unit="years", low=18, high=110, group="covariate", covariate=True),
        ]

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        with (self.folder / "visits.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                if int(line["quality"]) < self.least_quality:
                    notes.skip(line["file"], "is of too low quality")
                    continue
                yield Candidate(
                    subject=line["patient"],
                    ecg=self.folder / line["file"],
                    labels={
                        "ejection": line["ef"],
                        "smoker": line["smoker"],
                        "rhythm": line["rhythm"],
                        "stroke": line["stroke"],
                        "stroke_years": line["days"],
                        "age": line["age"],
                    },
                    split=SPLIT_OF_HOSPITAL[line["hospital"]],
                    id=line["file"],
                )
