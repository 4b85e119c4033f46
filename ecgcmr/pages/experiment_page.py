"""The page of an experiment, from its question to its settings."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from ecgcmr.errors import UserError
from ecgcmr.pages.cohort_section import cohorts_facts
from ecgcmr.pages.document import Section, document, paragraph
from ecgcmr.pages.experiment_folder import ExperimentFolder
from ecgcmr.pages.figure_files import FigureFile
from ecgcmr.pages.markup import Html, element, joined
from ecgcmr.pages.method_section import methods, question
from ecgcmr.pages.provenance_section import provenance, settings
from ecgcmr.pages.result_section import results
from ecgcmr.pages.tables import facts
from ecgcmr.pages.training_section import training
from ecgcmr.private_text import without_folders

MOST_BYTES = 15_000_000
"""Of a page: what can be sent by mail and opened on a phone."""

_NO_LONG_TABLES = "The tables of single targets would make this page too large; they are in evaluation/."
_NARROW_SCREEN = "screen and (max-width: 44rem)"
_NO_FIGURES = "The figures would make this page too large; they are in figures/."


def experiment_page(folder: ExperimentFolder, most: int = MOST_BYTES) -> str:
    """Return an experiment's page.

    Of a very large experiment the tables of single targets are left out, then the figures; the page says so.

    Args:
        folder: What is known.
        most: Bytes that it may have.

    Raises:
        UserError: It is larger even so.
    """
    for every_number, figures in ((True, True), (False, True), (False, False)):
        page = _page(folder, every_number, figures)
        if len(page.encode()) <= most:
            return page
    raise UserError(
        f"{folder.name}: its page would be larger than {most:,} bytes; report an experiment of fewer methods"
    )


def _page(folder: ExperimentFolder, every_number: bool, figures: bool) -> str:
    overview = folder.overview
    title = without_folders(overview.title or folder.name)
    notes = [*overview.notes, *(note for found in folder.assessments for note in found.notes)]
    notes += [] if every_number else [_NO_LONG_TABLES]
    notes += [] if figures or not folder.figures else [_NO_FIGURES]
    asked = joined([facts(question(folder)), *(paragraph(without_folders(words)) for words in overview.gain)])
    sections = [
        Section("question", "Question", asked),
        Section("results", "Results", results(folder.assessments, every_number=every_number)),
        Section("figures", "Figures", _figures(folder.figures) if figures else Html("")),
        Section(
            "learned", "What the model learned", joined([folder.learned, *_shown(folder.learned_figures, figures)])
        ),
        Section("cohort", "Cohort", cohorts_facts(folder.cohorts, folder.plan)),
        Section("methods", "Methods", methods(folder)),
        Section("training", "Training", training(folder.stages, folder.pre_training, folder.further_stages)),
        Section("notes", "Notes", _notes(dict.fromkeys(notes))),
        Section("provenance", "Provenance", provenance(folder)),
        Section("settings", "Settings", settings(folder.plan, folder.stages, folder.pre_training)),
    ]
    return document(title, f"Experiment {folder.file or folder.name}", sections)


def _notes(notes: Iterable[str]) -> Html:
    items = [element("li", paragraph(without_folders(note))) for note in notes]
    return element("ul", *items) if items else Html("")


def _shown(found: Iterable[FigureFile], wanted: bool) -> Iterable[Html]:
    return (_figure(figure) for figure in found) if wanted else ()


def _figures(figures: Iterable[FigureFile]) -> Html:
    return joined(_figure(figure) for figure in figures)


def _figure(figure: FigureFile) -> Html:
    picture = element(
        "img",
        src=_address(figure),
        alt=f"{figure.title}. The numbers are in the tables of the results.",
        width=figure.width,
        height=figure.height,
        decoding="sync",
    )
    if figure.narrow is not None:
        narrow = element("source", media=_NARROW_SCREEN, srcset=_address(figure.narrow), width=figure.narrow.width,
                         height=figure.narrow.height)  # fmt: skip
        picture = element("picture", narrow, picture)
    return element("figure", element("figcaption", figure.title), picture)


def _address(figure: FigureFile) -> Html:
    return Html(f"data:image/png;base64,{base64.b64encode(figure.png).decode()}")
