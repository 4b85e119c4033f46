"""``report.json``: what became of every file of a run.

Unlike shards and index it names source files, which in biobanks carry the participant's number: it stays with whoever
holds the raw data.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgcmr.files import replace_atomically
from ecgcmr.formats.amplitude import doubts_unit
from ecgcmr.preparation.clipping import summary_of
from ecgcmr.preparation.file_names import as_utf8
from ecgcmr.preparation.plan import Plan, Row
from ecgcmr.preparation.rows import Remark
from ecgcmr.preparation.shard_task import ShardOutcome

REPORT_NAME = "report.json"


@dataclass
class Report:
    """The content of ``report.json``.

    Attributes:
        files: Names of all files there were, relative to the folder the user named; those read and those skipped.
        written: Rows in the shards.
        skipped: Files that could not be used and why.
        notes: Remarks on files that were used.
        clipping: What the cleaning clipped, see ``clipping.summary_of``; empty where it does not clip.
        duplicates: Files whose recording stands in another split under another subject, and so is never given out.
        out_of_range: Label -> implausible values, taken as missing.
        unreadable: Label or field -> values that were no number or date.
        counts: Rows by split and by content, from the index.
        formats: What the ECG files were that gave a recording -> how many.
        dates: Field and reason -> dates that cannot be, taken as unknown, or contradict each other.
        disagreeing: Label or field -> values that differ from the one that stands.
        tables: What became of each table, see ``TableUse``.
        without_row: Subjects with an ECG or images that stand in no table.
        remarks: What the user should know of the run as a whole.
    """

    files: list[str]
    written: int
    skipped: list[dict[str, str]]
    notes: list[dict[str, str]]
    out_of_range: dict[str, int]
    unreadable: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    duplicates: list[dict[str, str]] = field(default_factory=list)
    clipping: dict[str, float] = field(default_factory=dict)
    dates: dict[str, int] = field(default_factory=dict)
    disagreeing: dict[str, int] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    without_row: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def units_doubtful(self) -> dict[str, int]:
        """How many files there are, ``skipped`` and ``used``, whose amplitude speaks against their unit."""
        return {
            "skipped": len({item["file"] for item in self.skipped if doubts_unit(item["reason"])}),
            "used": len({item["file"] for item in self.notes if doubts_unit(item["note"])}),
        }

    def write(self, folder: Path) -> None:
        """Write ``report.json`` atomically."""
        content: dict[str, Any] = {
            "read": len(self.files),
            "written": self.written,
            "skipped": self.skipped,
            "counts": self.counts,
            "ecg_formats": self.formats,
            "phenotypes_out_of_range": self.out_of_range,
            "values_unreadable": self.unreadable,
            "values_disagreeing": self.disagreeing,
            "dates_impossible": self.dates,
            "tables": self.tables,
            "subjects_without_table_row": self.without_row,
            "remarks": self.remarks,
            "units_doubtful": self.units_doubtful,
            "notes": self.notes,
            "duplicates": self.duplicates,
            "clipping": self.clipping,
            "files": self.files,
        }
        with replace_atomically(folder / REPORT_NAME) as temporary:
            temporary.write_text(json.dumps(as_utf8(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def build_report(plan: Plan, chunks: Sequence[Sequence[Row]], outcomes: Sequence[ShardOutcome]) -> Report:
    """Gather the report from the plan and from what became of each chunk of its rows."""
    skipped = [{"file": name, "reason": reason} for name, reason in plan.notes.skipped]
    notes = []
    formats: Counter[str] = Counter()
    for rows, outcome in zip(chunks, outcomes, strict=True):
        skipped += [{"file": _name(rows, problem), "reason": problem.text} for problem in outcome.problems]
        notes += [{"file": _name(rows, note), "note": note.text} for note in outcome.notes]
        formats.update(outcome.formats)
    return Report(
        files=sorted(plan.files),
        written=sum(outcome.entry.rows for outcome in outcomes if outcome.entry is not None),
        skipped=sorted(skipped, key=lambda item: (item["file"], item["reason"])),
        notes=sorted(notes, key=lambda item: (item["file"], item["note"])),
        out_of_range=dict(sorted(plan.notes.counts.out_of_range.items())),
        unreadable=dict(sorted(plan.notes.counts.unreadable.items())),
        formats=dict(formats.most_common()),
        clipping=summary_of(pair for outcome in outcomes for pair in outcome.clipped),
        dates=dict(sorted(plan.notes.counts.dates.items())),
        disagreeing=dict(sorted(plan.notes.counts.disagreeing.items())),
        tables=[table.to_dict() for table in plan.notes.tables],
        without_row=plan.notes.without_row,
        remarks=list(plan.notes.remarks),
    )


def _name(rows: Sequence[Row], remark: Remark) -> str:
    row = rows[remark.member]
    name = row.ecg_name if remark.part == "ecg" else row.cmr_name
    return f"{name}/{remark.file}" if remark.file else name
