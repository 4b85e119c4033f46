from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pytest
from cmr_fuzzer import ZIP_CONTENTS, malformed_folders, malformed_zips

from ecgcmr.errors import UserError
from ecgcmr.formats.short_axis_file import cine_notes, cmr_kind, read_cmr
from ecgcmr.preparation.cine import frames_from_short_axis
from ecgcmr.preparation.cine_options import CineOptions

SECONDS = 10.0
GROWTH_KIB = 2**20


def outcome(path: Path) -> str:
    """Read a file, its pixels included: the reason for its refusal, or an empty text and a valid record."""
    try:
        images = read_cmr(path)
        assert all(0.1 <= mm <= 20 for mm in images.spacing_mm)
        for volume in (images.ed, images.es):
            assert volume is None or (volume.ndim == 3 and np.isfinite(volume).all())
        if images.load_cine is not None:
            cine = images.load_cine()
            assert cine.size > 0
            assert cine.dtype.kind in "uif"
            assert np.isfinite(cine).all()
        options = CineOptions(size=32)
        frames = frames_from_short_axis(images, options if images.load_cine else options.for_two_phases())
        assert frames.shape[1:] == (32, 32)
    except UserError as error:
        message = str(error)
        assert message
        assert "\n" not in message
        assert len(message) < 400
        assert "Planted" not in message
        return message
    assert all("\n" not in note for note in cine_notes(images))
    return ""


@pytest.mark.parametrize(("make", "count", "at_least_refused"), [(malformed_folders, 40, 30), (malformed_zips, 50, 35)])
@pytest.mark.long
def test_malformed_images_are_refused_or_read(tmp_path, make, count, at_least_refused):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    paths = make(tmp_path, count, seed=2024)  # takes some of the allowance itself
    refused = 0
    for path in paths:
        started = time.monotonic()
        assert cmr_kind(path) in ("nifti", "dicom-zip", None)
        refused += bool(outcome(path))
        assert time.monotonic() - started < SECONDS, path.name
    assert len(list(tmp_path.iterdir())) == count  # nothing was unpacked
    assert refused >= at_least_refused
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_KIB


def test_the_fuzzer_is_seeded(tmp_path):
    def made(name, seed):
        (tmp_path / name).mkdir()
        folders = malformed_folders(tmp_path / name, 5, seed)
        zips = malformed_zips(tmp_path / name, 6, seed, first=len(ZIP_CONTENTS))
        return [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())], [
            path.read_bytes() for path in zips
        ]

    first = made("first", 1)
    assert made("again", 1) == first
    other = made("other", 2)
    assert (other[0] != first[0], other[1] != first[1]) == (True, True)
