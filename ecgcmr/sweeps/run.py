"""Running a sweep: one trial after the other, each a fit in its folder, from where it was cut off."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgcmr.config_pieces import read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.stage_runs import StageRun, fingerprint_of, run_stage
from ecgcmr.files import remove_paths, write_atomically
from ecgcmr.json_file import recall_json
from ecgcmr.provenance.run_note import NAME
from ecgcmr.shards.contents import cohort_fingerprint
from ecgcmr.shards.joint_index import open_cohorts
from ecgcmr.sweeps.outcome import (
    BEST,
    RESULT,
    best_of,
    line_about,
    monitored,
    trial_folder,
    trial_rows,
    write_outcome,
)
from ecgcmr.sweeps.plan import SweepPlan
from ecgcmr.sweeps.study import COMPLETE, FAIL, PRUNED, STORAGE, Study
from ecgcmr.sweeps.trial_report import NOTE
from ecgcmr.text import printable
from ecgcmr.yaml_file import mapping_at

_CALLBACK = "ecgcmr.sweeps.TrialReport"
_WEIGHTS = ("*.ckpt", *(f"{folder}encoder.safetensors" for folder in ("", "cmr_encoder/", "measurement_encoder/")))


@dataclass(frozen=True)
class Sweep:
    """A sweep in its folder.

    Attributes:
        plan: What it is.
        folder: Where it goes.
        show: Prints a line.
    """

    plan: SweepPlan
    folder: Path
    show: Callable[[str], None]

    def claim(self, *, overwrite: bool) -> None:
        """Make sure that the folder is new or holds this sweep; the number of trials may have changed.

        Args:
            overwrite: Another sweep in it may be removed.

        Raises:
            UserError: It holds another sweep, or something else.
        """
        ours = [self.folder / name for name in (STORAGE, RESULT, BEST, "trials")]
        fingerprint, known = self.fingerprint, recall_json(self.folder / RESULT)
        if isinstance(known, dict) and known.get("fingerprint") == fingerprint:
            return
        there = [path for path in ours if path.exists()]
        if there and not overwrite:
            raise UserError(
                f"--out {self.folder}: holds a sweep of another file, cohort or version ({there[0].name}); choose "
                "another folder, or add --overwrite to begin anew in its place"
            )
        foreign = self.folder.exists() and [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        if foreign and not there:
            raise UserError(f"--out {self.folder}: holds {foreign[0].name} and no sweep; choose another folder")
        remove_paths(there)
        # Before there is a study, so that it is known whose it is.
        first = json.dumps({"fingerprint": fingerprint, "best": None, "tried": []}, indent=1)
        write_atomically(self.folder / RESULT, f"{first}\n".encode())

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of all that the results depend on, but for the number of trials."""
        return fingerprint_of({"plan": self.plan.content(), "cohort": self.cohort})

    @functools.cached_property
    def cohort(self) -> str:
        """Fingerprint of the cohort.

        Raises:
            UserError: There is none.
        """
        given = mapping_at(read_config(self.plan.config_file), "data", "init_args").get("root")
        root = self.plan.set.get("data.root", given)
        roots = [root] if isinstance(root, str) else root
        if not isinstance(roots, list):
            raise UserError(f"{self.plan.path}: names no cohort; give --root DIR, or data.root under set")
        return cohort_fingerprint(open_cohorts(roots))

    def run(self) -> Mapping[str, Any] | None:
        """Run all trials that are still to be run; returns the row of the best.

        Raises:
            UserError: The first trial's settings are a mistake.
        """
        study = Study(self.folder, self.plan)
        self._write(study)
        while (trial := study.next_trial()) is not None:
            state = self._fit(trial.number, study.settings(trial))
            value = study.least_value(study.trials[trial.number])
            if state == COMPLETE and value is None:
                state = FAIL
            study.end(trial.number, state, value if state == COMPLETE else None)
            self._write(study)
            self.show(line_about(trial_rows(study, self.folder)[-1], monitored(self.folder)[0]))
        return best_of(trial_rows(study, self.folder), monitored(self.folder)[1])

    def _fit(self, number: int, settings: Mapping[str, Any]) -> str:
        plan, place = self.plan, trial_folder(self.folder, number)
        arguments = {"number": number, "pruner": plan.pruner, "startup": plan.startup, "warmup": plan.warmup}
        report = {"class_path": _CALLBACK, "init_args": arguments}
        overrides = {**plan.set, **settings, "trainer.callbacks+": report}
        stage = StageRun(f"trial {number}", place, plan.config_file, overrides, {"cohort": self.cohort})
        self.show(f"trial {number + 1} of {plan.trials}")
        try:
            run_stage(stage)
        except UserError as error:
            if not any((self.folder / "trials").glob(f"*/{NAME}")):
                raise  # none has begun yet: it is a mistake that all would share
            self._note_failed(place, error)
        note = recall_json(place / NOTE)
        ended = note.get("ended") if isinstance(note, dict) else None
        return {"pruned": PRUNED, "failed": FAIL}.get(str(ended), COMPLETE)

    def _note_failed(self, place: Path, error: UserError) -> None:
        """Note why a trial failed, in a clause: what a message adds may name rows."""
        reason = printable(re.split(r"[;,]", str(error))[0], 200)
        write_atomically(place / NOTE, (json.dumps({"ended": "failed", "reason": reason}) + "\n").encode())

    def _write(self, study: Study) -> None:
        """Write what is known, and remove the weights of trials that are not the best."""
        rows, (monitor, mode) = trial_rows(study, self.folder), monitored(self.folder)
        about = {
            "monitor": monitor,
            "mode": mode,
            "config": self.plan.config_file.name,
            "fingerprint": self.fingerprint,
            "trials": self.plan.trials,
        }
        write_outcome(self.folder, rows, read_config(self.plan.config_file), about)
        best = best_of(rows, mode)
        if self.plan.keep == "all":
            return
        ended = [row for row in rows if row["state"] != "running" and (best is None or row["number"] != best["number"])]
        for row in ended:
            place = trial_folder(self.folder, row["number"])
            remove_paths([path for pattern in _WEIGHTS for path in place.glob(pattern)])
