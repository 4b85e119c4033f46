"""``run.json`` of an experiment: its calls, and what all its stages took together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.experiments.experiment import Experiment
from ecgcmr.provenance.run_note import FAILED, FINISHED, INTERRUPTED, NAME, RUNNING, RunNote, read_note
from ecgcmr.provenance.surroundings import code, hardware, versions


@contextmanager
def noted(experiment: Experiment, words: Sequence[str]) -> Iterator[None]:
    """Keep the note of an experiment while it runs, renewed after each of its parts.

    Args:
        experiment: About to run, in a folder that is its.
        words: Of its command line, after ``ecgcmr``.
    """
    note, plan = RunNote(experiment.out, "experiment", words), experiment.plan
    seeds = {"seed": plan.seed, "seeds": list(plan.seeds), "finetune_seeds": list(plan.finetune_seeds)}
    about = {"file": plan.path.name, "seeds": seeds}
    note.begin(about, {"versions": versions(), "code": code(), "hardware": hardware()})

    def after_step() -> None:  # the first of which is the cohort
        note.note({"cohort": {"fingerprint": experiment.cohorts.fingerprint}})
        note.write(RUNNING, stage_totals(experiment.out))

    experiment.after_step = after_step
    state = FAILED
    try:
        yield
        state = FINISHED
    except Exception:
        raise
    except BaseException:
        state = INTERRUPTED
        raise
    finally:
        note.write(state, stage_totals(experiment.out))


def stage_totals(out: Path) -> dict[str, dict[str, Any]]:
    """Return the totals of each stage of an experiment, name of its folder -> sums; one without a note is left out."""
    found = {}
    for path in sorted(out.glob(f"stages/*/{NAME}")):
        try:
            found[path.parent.name] = read_note(path.parent)["totals"]
        except UserError:
            continue  # of an earlier version, or damaged: the stage runs all the same
    return found
