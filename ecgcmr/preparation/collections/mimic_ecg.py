"""MIMIC-IV-ECG: 800,035 ECGs of 161,352 patients, what the recorder measured, and an echocardiogram near each if given.

Gow et al., PhysioNet 2023. Patients are subjects; the publisher gives no split, so that the hash decides. Age and sex
come from MIMIC-IV's ``patients.csv``, where it lies in the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from ecgcmr.errors import UserError
from ecgcmr.formats.plain_table import find_file, numbers, read_plain_table, require_file, timestamps
from ecgcmr.label_declarations import DeclaredLabel
from ecgcmr.preparation.collections.inside import is_inside
from ecgcmr.preparation.collections.label_frames import label_rows, yes_no
from ecgcmr.preparation.collections.mimic_echo import MEASURED, echo_labels, nearest_study, read_echo
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.labels import AGE, SEX
from ecgcmr.preparation.options import DEFAULT_ECHO_DAYS, PrepareOptions

RECORDS = ("record_list.csv", "record-list.csv", "record_list.csv.gz", "record-list.csv.gz")
MEASUREMENTS = ("machine_measurements.csv", "machine_measurements.csv.gz")
PATIENTS = ("patients.csv", "patients.csv.gz")
TIMES = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end")
AXES = ("p_axis", "qrs_axis", "t_axis")
SENTINELS = (29999, 32767, 65535, -32767, -32768)
"""What the recorder writes where it could not measure."""
OLDEST, OVER_89 = 90.0, 91.0
"""Age given to those of whom MIMIC-IV says 91: over 89."""


class MimicECGCollection:
    """The recordings of a MIMIC-IV-ECG folder."""

    def __init__(self, options: PrepareOptions) -> None:
        """Take the folders from ``options.ecg`` and ``options.echo``.

        Raises:
            UserError: There is no such folder.
        """
        self.folder = require_folder(options.ecg or Path(), "--ecg")
        self.echo = None if options.echo is None else require_folder(options.echo, "--echo")
        self.days = DEFAULT_ECHO_DAYS if options.echo_days is None else options.echo_days

    def labels(self) -> Sequence[DeclaredLabel]:
        """Return the recorder's measurements, age, sex and, with echocardiograms, what those measured."""
        return (
            *(DeclaredLabel(name, unit="ms", low=0, high=3000, group="device") for name in TIMES),
            *(DeclaredLabel(name, unit="degrees", low=-180, high=180, group="device") for name in AXES),
            AGE,
            SEX,
            *(echo_labels() if self.echo is not None else ()),
        )

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a recording; no signal is opened.

        Raises:
            UserError: A table is missing, damaged or lacks a column.
        """
        path = require_file(self.folder, "--ecg", *RECORDS)
        records = read_plain_table(path, ("subject_id", "study_id", "path"), ("ecg_time",))
        notes.files.append(path.name)
        records["study"], records["subject"] = numbers(records["study_id"]), numbers(records["subject_id"])
        usable = records["study"].notna() & records["subject"].notna() & records["path"].notna()
        if not usable.all():
            notes.remarks.append(f"{path.name}: {int((~usable).sum())} rows lack a subject_id, study_id or path")
        records = records[usable].reset_index(drop=True)
        repeated = records["study"].duplicated()
        if repeated.any():
            raise UserError(f"{path.name}: lists {int(repeated.sum())} study_ids twice; keep one row of each")
        records["time"] = timestamps(records["ecg_time"])
        if (timeless := int(records["time"].isna().sum())) and (self.echo or find_file(self.folder, *PATIENTS)):
            notes.remarks.append(f"{path.name}: {timeless} recordings have no readable ecg_time")
        values = self._measured(records, notes) | self._person(records, notes) | self._echo(records, notes)
        labels = label_rows(values, self.labels(), notes.counts)
        strange = 0
        for row, (subject, study, name) in enumerate(
            zip(records["subject"], records["study"], records["path"], strict=True)
        ):
            if not is_inside(name):
                strange += 1
                continue
            header = name.removesuffix(".hea") + ".hea"
            yield Candidate(
                subject=str(int(subject)),
                ecg=self.folder / header,
                labels=labels[row],
                id=str(int(study)),
                ecg_name=header,
            )
        if strange:
            notes.remarks.append(f"{path.name}: {strange} paths lead out of the folder and are left out")

    def _measured(self, records: pd.DataFrame, notes: SearchNotes) -> dict[str, pd.Series]:
        """Read what the recorder measured; its sentinels are missing values."""
        empty = pd.Series(float("nan"), index=records.index)
        path = find_file(self.folder, *MEASUREMENTS)
        if path is None:
            notes.skip(MEASUREMENTS[0], "missing, so that nothing is known of what the recorder measured")
            return dict.fromkeys((*TIMES, *AXES), empty)
        notes.files.append(path.name)
        table = read_plain_table(path, ("study_id", "subject_id"), (*TIMES, *AXES))
        table = table.assign(study=numbers(table["study_id"])).dropna(subset="study").drop_duplicates("study")
        table = table.set_index("study").reindex(records["study"]).set_axis(records.index)
        # A study's number alone may be another patient's: the open demo numbers its studies anew.
        table = table.where(numbers(table["subject_id"]) == records["subject"])
        without = int(table["study_id"].isna().sum())
        if without == len(records):
            raise UserError(
                f"{path.name}: has a row for none of the recordings; take it from the release of the recordings (the "
                "open demo numbers its studies anew)"
            )
        if without:
            notes.remarks.append(f"{path.name}: {without} recordings have no row of their study and patient")
        values = {}
        for name in (*TIMES, *AXES):
            read = numbers(table[name])
            values[name] = table[name].where(~read.isin(SENTINELS))
            if name in AXES:  # recorders write the northwest as 181 to 270
                values[name] = values[name].mask(read.between(180, 360, inclusive="right"), read - 360)
        return values

    def _person(self, records: pd.DataFrame, notes: SearchNotes) -> dict[str, pd.Series]:
        """Read age on the day of the ECG and sex, where MIMIC-IV's table of patients is there."""
        folders = [self.folder, self.folder / "hosp", *([self.echo] if self.echo is not None else [])]
        path = next((found for at in folders if at.is_dir() and (found := find_file(at, *PATIENTS))), None)
        if path is None:
            notes.remarks.append(
                f"no age and no sex: put {PATIENTS[0]} of MIMIC-IV into the folder of --ecg if you have it"
            )
            return {}
        notes.files.append(path.name)
        table = read_plain_table(path, ("subject_id", "gender", "anchor_age", "anchor_year"))
        table = table.assign(subject=numbers(table["subject_id"])).dropna(subset="subject").drop_duplicates("subject")
        table = table.set_index("subject").reindex(records["subject"]).set_axis(records.index)
        anchor = numbers(table["anchor_age"])
        age = anchor + records["time"].dt.year - numbers(table["anchor_year"])
        return {
            "age": age.mask(anchor >= OVER_89, OLDEST),
            "sex": yes_no(table["gender"], ("m", "male"), ("f", "female")),
        }

    def _echo(self, records: pd.DataFrame, notes: SearchNotes) -> dict[str, pd.Series]:
        """Give each recording what the nearest echocardiogram measured."""
        if self.echo is None:
            return {}
        studies = read_echo(self.echo, records["subject"])
        near = nearest_study(records["subject"], records["time"], studies.table, self.days)
        away = (near["echo_time"] - records["time"]).dt.total_seconds().abs() / 86400
        found = int(away.notna().sum())
        median = f", {away.median():.1f} days away at the median" if found else ""
        notes.remarks.append(
            f"{found} of {len(records)} recordings have an echocardiogram within {self.days:g} days{median}; of other "
            f"tests than at rest through the chest {studies.other_tests.total()} values are left out"
        )
        if studies.timeless:
            notes.remarks.append(f"{studies.timeless} values of echocardiograms have no readable time and are left out")
        for (name, unit), count in sorted(studies.units.items()):
            notes.remarks.append(f"{name}: {count} values in {unit!r:.30} are left out, whose unit is not known")
        for name, count in studies.unreadable.items():
            notes.counts.unreadable[name] += count
        return {one.name: near[one.name] for one in MEASURED}
