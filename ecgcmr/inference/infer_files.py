"""Predictions of many files into a folder: JSON and a page for each, and a summary of what failed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ecgcmr.files import write_atomically
from ecgcmr.inference.answers import Answers
from ecgcmr.inference.file_tasks import FileRead, Workers, open_workers, read_ahead
from ecgcmr.inference.input_files import InputFiles
from ecgcmr.inference.person import Person
from ecgcmr.inference.person_table import PersonTable
from ecgcmr.inference.results import ECGPrediction
from ecgcmr.inference.results_folder import SUMMARY, Place, ResultsFolder
from ecgcmr.json_file import recall_json


@dataclass(frozen=True)
class InferOptions:
    """How results are made.

    Attributes:
        png: Whether a page is drawn for each file.
        pdf: Whether it is written as PDF too.
        workers: Processes.
        overwrite: Replace what is in the way.
        sex: Of all subjects that neither file nor table say it of.
        table: Persons by file; None without one.
    """

    png: bool = True
    pdf: bool = False
    workers: int = 1
    overwrite: bool = False
    sex: str | None = None
    table: PersonTable | None = None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the files that each result consists of."""
        return (".json", *([".png"] if self.png else []), *([".pdf"] if self.pdf else []))


@dataclass(frozen=True)
class PageTask:
    """A page to be drawn."""

    signal: NDArray
    sampling_rate: float
    prediction: dict[str, Any]
    model: dict[str, Any]
    path: Path
    pdf: bool


def infer_files(
    answers: Answers,
    found: InputFiles,
    out: Path,
    options: InferOptions,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Write the results of all files; what is done and unchanged stays.

    Args:
        answers: Of the model.
        found: The files.
        out: The folder, which exists and is locked.
        options: How.
        advance: Called with the number of files that have been finished.

    Returns:
        What ``summary.json`` says.

    Raises:
        UserError: Something in the folder may not be replaced, or a worker was killed.
    """
    persons = [_given(file_person, options.sex) for file_person in _from_table(found, options.table)]
    request = _request(answers)
    folder = ResultsFolder(out, options.suffixes)
    keys = [_key(file.digest(), request, person) for file, person in zip(found.files, persons, strict=True)]
    places = folder.places(found.files, keys, overwrite=options.overwrite)
    waiting = [number for number, place in enumerate(places) if not place.done]
    advance(len(places) - len(waiting))
    failed: dict[int, str] = {}
    with open_workers(options.workers, len(waiting)) as workers:
        paths = [places[number].file.path for number in waiting]
        numbers = iter(waiting)
        for read in read_ahead(workers, answers.model.description.preparation, paths, keep_windows=options.png):
            block = list(islice(numbers, len(read)))
            failed |= {n: str(one.failed) for n, one in zip(block, read, strict=True) if one.recording is None}
            if options.overwrite:
                for number in failed.keys() & set(block):
                    folder.discard(places[number])
            usable = [(n, one) for n, one in zip(block, read, strict=True) if one.recording is not None]
            _write(
                answers, folder, [(places[n], one, persons[n].over(one.person)) for n, one in usable], options, workers
            )
            advance(len(block))
    return _summary(answers, found, places, failed, out)


def _write(
    answers: Answers,
    folder: ResultsFolder,
    usable: Sequence[tuple[Place, FileRead, Person]],
    options: InferOptions,
    workers: Workers,
) -> None:
    recordings = [one.recording for _, one, _ in usable if one.recording is not None]
    predictions = answers.predict(recordings, [person for _, _, person in usable])
    pageless = {p.stem for (p, _, _), one in zip(usable, recordings, strict=True) if not one.windows}
    folder.begin([place for place, _, _ in usable], pageless)
    if options.png:
        model = asdict(answers.model.description)
        tasks = [
            PageTask(
                recording.windows[0].window.signal, recording.windows[0].window.sampling_rate, page_entries(prediction),
                model, folder.folder / f"{place.stem}.png", options.pdf,
            )
            for (place, _, _), recording, prediction in zip(usable, recordings, predictions, strict=True)
            if recording.windows
        ]  # fmt: skip
        workers.map(draw, tasks)
    for (place, _, _), prediction in zip(usable, predictions, strict=True):
        content = json.dumps(prediction.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomically(folder.folder / f"{place.stem}.json", f"{content}\n".encode("utf-8", "backslashreplace"))


def page_entries(prediction: ECGPrediction) -> dict[str, Any]:
    """Return a prediction as a page takes it."""
    entries = prediction.to_dict()
    quality = dict(entries["quality"])
    warnings = quality.pop("warnings")
    quality.pop("leads")  # the warnings say it in words
    return {**entries, "quality": quality, "warnings": warnings, "sex": prediction.sex}


def draw(task: PageTask) -> None:
    """Draw a page; the signal is NaN where nothing was recorded."""
    from ecgcmr.inference.ecg_page import draw_page  # matplotlib takes seconds

    draw_page(task.signal, task.sampling_rate, task.prediction, task.model, task.path, pdf=task.pdf)


def _from_table(found: InputFiles, table: PersonTable | None) -> list[Person]:
    return [(None if table is None else table.person(file)) or Person() for file in found.files]


def _given(person: Person, sex: str | None) -> Person:
    return person.over(Person(sex))


def _request(answers: Answers) -> str:
    content = [asdict(answers.model.description), answers.level]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _key(digest: str, request: str, person: Person) -> str:
    if not digest:
        return ""
    return hashlib.sha256(json.dumps([digest, request, asdict(person)], sort_keys=True).encode()).hexdigest()


def _summary(
    answers: Answers, found: InputFiles, places: Sequence[Place], failed: dict[int, str], out: Path
) -> dict[str, Any]:
    """Write what was read, refused and failed; files by their names in the folder that was named."""
    refused, results = [], []
    for number, place in enumerate(places):
        if number in failed:
            continue
        results.append({"file": place.file.name, "result": f"{place.stem}.json"})
        content = recall_json(out / f"{place.stem}.json")
        reason = content.get("refused") if isinstance(content, dict) else None
        if reason is not None:
            refused.append({"file": place.file.name, "reason": reason})
    description = answers.model.description
    summary = {
        "model": {
            "name": description.name, "code_version": description.code_version, "sha256": description.sha256
        },
        "level": answers.level,
        "files": len(places),
        "read": len(places) - len(failed),
        "refused": refused,
        "failed": [{"file": places[number].file.name, "reason": reason} for number, reason in sorted(failed.items())],
        "skipped": [{"file": name, "reason": reason} for name, reason in found.skipped],
        "results": results,
    }  # fmt: skip
    content = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(out / SUMMARY, f"{content}\n".encode("utf-8", "backslashreplace"))
    return summary
