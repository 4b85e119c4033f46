"""The page of one stage's run: what it was, its course, its settings."""

from __future__ import annotations

from ecgcmr.pages.document import Section, document
from ecgcmr.pages.markup import Html, joined
from ecgcmr.pages.provenance_section import code_versions, settings, stage_origins
from ecgcmr.pages.stage_folder import StageFolder
from ecgcmr.pages.tables import facts
from ecgcmr.pages.training_section import course, run_facts


def run_page(stage: StageFolder) -> str:
    """Return the page of a run folder."""
    run = stage.run
    came_from = joined([facts([("Code version", ", ".join(code_versions([stage])))]), stage_origins([stage])])
    sections = [
        Section("stage", "Stage", run_facts(stage)),
        Section("training", "Training", course(stage, run) if run else Html("")),
        Section("provenance", "Provenance", came_from),
        Section("settings", "Settings", settings({}, [stage], [stage.name])),
    ]
    return document(f"Run {stage.name}", run.stage if run else "an encoder that was never trained", sections)
