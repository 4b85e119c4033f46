"""Who is in a synthetic cohort: state, made-up identifiers, tables, labels and the key of the subjects' hashes.

Labels are read out of the tables by ``ecgcmr.preparation``, as text, so that shards and prepared raw files agree to
the last digit. The identifiers are drawn and nobody stands behind them: the key of their hashes follows from the seed
and is no secret.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from io import BytesIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgcmr.formats.table_file import open_text
from ecgcmr.formats.ukb_table import Table
from ecgcmr.preparation.diagnoses import DEATH, LOST
from ecgcmr.preparation.label_columns import LabelCounts
from ecgcmr.preparation.label_table import IMAGING_VISIT, label_subjects, read_label_table
from ecgcmr.preparation.splits import subject_hash
from ecgcmr.synthesis.events import Events, sample_events
from ecgcmr.synthesis.links import electrical_parameters
from ecgcmr.synthesis.raw_files import DeviceNotes, diagnosis_table, phenotype_table
from ecgcmr.synthesis.state import CardiacState, sample_states

_ID_STREAM = 41
_FAMILY_NAMES = ("Adéyemi", "Brontë", "Castañeda", "Müller", "Nakamura", "O'Dwyer", "Søndergaard", "Whitlock")
_GIVEN_NAMES = ("Alex", "Chris", "Jo", "Kim", "Lou", "Robin", "Sam", "Toni")


@dataclass(frozen=True)
class Population:
    """The subjects of a cohort.

    Attributes:
        state: Their cardiac state.
        eids: N made-up participant numbers of seven digits, unique.
        events: Diagnoses and day of imaging.
        phenotypes: ``phenotypes.csv``.
        diagnoses: ``diagnoses.csv``.
        key: Key under which ``hashes`` were made.
    """

    state: CardiacState
    eids: list[int]
    events: Events
    phenotypes: pd.DataFrame
    diagnoses: pd.DataFrame
    key: bytes

    @property
    def hashes(self) -> list[str]:
        """Keyed hash of every subject."""
        return [subject_hash(str(eid), self.key) for eid in self.eids]

    def labels(self, censor_date: date | None = None) -> NDArray[np.float32]:
        """Return (N, 99) labels, as preparation makes them of the tables.

        Args:
            censor_date: As for preparation; None takes the latest diagnosis in the tables, as it does by default. The
                true one is ``events.censoring_date``.
        """
        ids = [str(eid) for eid in self.eids]
        tables = [
            _as_read(name, table, ids)
            for name, table in (("phenotypes", self.phenotypes), ("diagnoses", self.diagnoses))
        ]
        return label_subjects(ids, tables, IMAGING_VISIT, LabelCounts(), censor_date=censor_date)


def cohort_key(seed: int) -> bytes:
    """Return the key of a synthetic cohort's subject hashes; anybody may compute it."""
    return hashlib.blake2b(f"ecgcmr synthetic cohort, seed {seed}".encode(), digest_size=32).digest()


def draw_population(subjects: int, seed: int) -> Population:
    """Draw everybody of a cohort."""
    state = sample_states(subjects, seed)
    events = sample_events(state, seed)
    numbers = np.random.default_rng([seed, _ID_STREAM]).choice(9_000_000, subjects, replace=False)
    eids = (1_000_000 + numbers).tolist()
    covariates = {name: getattr(state.body, name) for name in ("sex", "age", "height_cm", "weight_kg")}
    return Population(
        state=state,
        eids=eids,
        events=events,
        phenotypes=phenotype_table(eids, covariates, events.imaging_date, state.observed_phenotypes),
        diagnoses=_add_ends(diagnosis_table(eids, events.diagnoses), events),
        key=cohort_key(seed),
    )


def _add_ends(table: pd.DataFrame, events: Events) -> pd.DataFrame:
    """Add the days of death and of loss to follow-up as UK Biobank has them."""
    ends = {f"{DEATH}-0.0": events.death, f"{LOST}-0.0": events.lost}
    columns = {name: [str(day) if day else "" for day in days] for name, days in ends.items()}
    return pd.concat([table, pd.DataFrame(columns)], axis=1)


def _as_read(name: str, table: pd.DataFrame, ids: list[str]) -> Table:
    """Return what reading the table's CSV file gives."""
    content = table.to_csv(index=False).encode()
    return read_label_table(open_text(name, partial(BytesIO, content)), ids)


def device_notes(population: Population) -> list[DeviceNotes]:
    """Return what the ECG device would have noted of every subject.

    Name and birthday are made up, the ECG is taken on the day of imaging. Rate and intervals (ms) are the true ones
    behind the ECG: no PQ interval in atrial fibrillation, QT from the corrected value by Fridericia's formula.
    """
    state, parameters = population.state, electrical_parameters(population.state)
    rr = 60.0 / state.body.heart_rate
    notes = []
    for row, eid in enumerate(population.eids):
        measurements = {
            "VentricularRate": state.body.heart_rate[row],
            "PQInterval": None if state.disease.atrial_fibrillation[row] else parameters["pr"][row],
            "QTInterval": parameters["qtc"][row] * np.cbrt(rr[row]),
            "QTCInterval": parameters["qtc"][row],
            "RRInterval": 1000 * rr[row],
        }
        day = population.events.imaging_date[row]
        observed = {"Hour": "10", "Minute": "30", "Second": "0", **_day(day)}
        notes.append(DeviceNotes(observed, _person(state, row, eid, day), measurements))
    return notes


def _person(state: CardiacState, row: int, eid: int, imaging: date) -> dict[str, str | dict[str, str]]:
    birthday = imaging - timedelta(days=int(365.25 * float(state.body.age[row])) + 1)
    return {
        "PID": str(eid),
        "Name": {
            "FamilyName": _FAMILY_NAMES[eid % len(_FAMILY_NAMES)],
            "GivenName": _GIVEN_NAMES[eid // 10 % len(_GIVEN_NAMES)],
        },
        "Age": str(int(state.body.age[row])),
        "BirthDateTime": _day(birthday),
        "Gender": "MALE" if state.body.sex[row] == 1 else "FEMALE",
        "Height": f"{float(state.body.height_cm[row]):.0f}",
        "Weight": f"{float(state.body.weight_kg[row]):.0f}",
        "PaceMaker": "no",
    }


def _day(day: date) -> dict[str, str]:
    return {"Day": str(day.day), "Month": str(day.month), "Year": str(day.year)}
