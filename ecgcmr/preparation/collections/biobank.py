"""UK Biobank, and any folders of ECG files and images with tables of participants beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ecgcmr.errors import UserError
from ecgcmr.formats.acdc import is_acdc
from ecgcmr.formats.ecg_reader import load_reader
from ecgcmr.preparation.collections.protocol import Candidate, SearchNotes
from ecgcmr.preparation.folder_checks import require_folder
from ecgcmr.preparation.label_columns import LabelColumn
from ecgcmr.preparation.label_table import IMAGING_VISIT, label_subjects
from ecgcmr.preparation.labels import TableLabels
from ecgcmr.preparation.nothing_found import nothing_found
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.sources import Found, find_cmr, find_ecgs
from ecgcmr.preparation.subject_matching import SubjectMatcher
from ecgcmr.preparation.subject_table import read_subjects
from ecgcmr.preparation.table_use import read_tables, use_of_table
from ecgcmr.preparation.unusable_labels import check_usable


@dataclass
class BiobankCollection:
    """What ``--ecg``, ``--cmr``, ``--table``, ``--subjects``, ``--codes`` and ``--labels`` name.

    Attributes:
        options: Those of the run.
    """

    options: PrepareOptions

    @cached_property
    def _labels(self) -> TableLabels:
        if self.options.labels is not None and not self.options.tables:
            raise UserError("--labels: goes with --table, the tables that hold the declared columns")
        return TableLabels.read(self.options.codes, self.options.labels)

    def labels(self) -> Sequence[LabelColumn]:
        """Return phenotypes, covariates, diseases and what the user declares."""
        return self._labels.columns

    def candidates(self, notes: SearchNotes) -> Iterator[Candidate]:
        """Yield a candidate a recording; images go with the subject's first one, or alone where there is none.

        Raises:
            UserError: A path is wrong, neither ECGs nor images were found, or a table matches nobody.
        """
        ecgs, images = self._search(notes)
        ids = sorted({*ecgs.sources, *images.sources})
        labels = self._label(ids, ecgs, notes)
        for subject in ids:
            cmr = images.sources.get(subject, [None])[0]
            for number, ecg in enumerate(ecgs.sources.get(subject) or [None]):
                has_cmr = cmr is not None and number == 0
                yield Candidate(
                    subject=subject,
                    ecg=ecg.path if ecg else None,
                    cmr=cmr.path if has_cmr and cmr else None,
                    labels=labels[subject, ecg.visit if ecg is not None else IMAGING_VISIT],
                    # The first row keeps its identity when a better recording or images arrive later.
                    id=ecg.name if ecg and number else "",
                    ecg_name=ecg.name if ecg else "",
                    cmr_name=cmr.name if cmr else "",
                )

    def _search(self, notes: SearchNotes) -> tuple[Found, Found]:
        """Search both folders, and make sure that a table of subjects was meant for them."""
        options = self.options
        subjects = None
        if options.subjects is not None:
            subjects = SubjectMatcher(options.subjects.name, read_subjects(options.subjects))
        ecgs = images = Found()
        if options.ecg is not None:
            folder = require_folder(options.ecg, "--ecg")
            reader = load_reader(options.reader)
            ecgs = find_ecgs(folder, subjects, declared=options.declaration is not None, reader=reader)
        if options.recordings == "first":
            ecgs.keep_first()
        if options.cmr is not None:
            images = find_cmr(require_folder(options.cmr, "--cmr"), options.view, subjects)
        notes.skipped += [*ecgs.skipped, *images.skipped]
        if not ecgs.sources and not images.sources:
            raise UserError(nothing_found(options, notes.skipped))
        matched = None if subjects is None else subjects.check(partial=options.partial_subjects)
        notes.remarks += [matched] if matched else []
        if any(is_acdc(source.path) for sources in images.sources.values() for source in sources):
            notes.remarks.append(
                "--cmr holds patients of ACDC: --collection acdc reads their groups and volumes, and keeps its split"
            )
        return ecgs, images

    def _label(
        self, ids: Sequence[str], ecgs: Found, notes: SearchNotes
    ) -> dict[tuple[str, int], npt.NDArray[np.float32]]:
        """Read the tables and label the subjects at each visit of theirs: (id, visit) -> labels."""
        options = self.options
        notes.files += [path.name for path in options.tables]
        read = read_tables(options.tables, ids, self._labels, options.censor_date)
        visits = {(i, source.visit) for i in ids for source in ecgs.sources.get(i, [])}
        visits |= {(i, IMAGING_VISIT) for i in ids if i not in ecgs.sources}
        labels: dict[tuple[str, int], npt.NDArray[np.float32]] = {}
        for visit in sorted({visit for _, visit in visits}):
            group = [i for i in ids if (i, visit) in visits]
            rows = label_subjects(group, read, visit, notes.counts, self._labels, options.censor_date)
            labels.update(zip(((i, visit) for i in group), rows, strict=True))
        if declared := self._labels.declared_columns:
            check_usable(declared, np.stack([row[-len(declared) :] for row in labels.values()]), notes, read)
        notes.tables += [use_of_table(table, self._labels, {visit for _, visit in visits}) for table in read]
        if read:
            notes.without_row += len(set(ids).difference(*(table.ids for table in read)))
        for table in read:
            for number, count in sorted(table.too_new.items()):
                notes.counts.dates[f"{number} after {table.newest} in {table.name}"] += count
        return labels
