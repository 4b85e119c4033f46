"""Localisation of pairs whose truth is known: one that reads two places, and one that reads nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_pair import LEAD, PlantedTruth, blind_pair, planted_context, planted_pair

from ecgcmr.errors import UserError
from ecgcmr.interpretation.localisation import OcclusionGrid
from ecgcmr.interpretation.localisation_report import LocalisationOptions, localisation
from ecgcmr.interpretation.measured_maps import Embeddings
from ecgcmr.shards.layout import LEADS

pytestmark = pytest.mark.slow

KEYS = {"kind", "region", "share_of_mass", "share_of_area", "ratio", "ci_low", "ci_high", "control", "n"}
COARSE = OcclusionGrid(image=2, seconds=0.25)
QUICK = LocalisationOptions(grid=OcclusionGrid(image=16, seconds=0.01), resamples=50, examples=1, checked=4)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    localisation(planted_context(folder / "cohort", planted_pair()), folder / "out", QUICK)
    return folder / "out"


def _rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "localisation.json").read_text())


def _row(rows: list[dict[str, Any]], kind: str, region: str, control: str | None = None) -> dict[str, Any]:
    (found,) = [row for row in rows if (row["kind"], row["region"], row["control"]) == (kind, region, control)]
    return found


def test_the_planted_quadrant_and_qrs_have_the_mass(planted: Path):
    rows = _rows(planted)
    for kind, region, area in (
        ("ecg_to_image", "LV cavity", 0.25),
        ("ecg_to_image_occlusion", "LV cavity", 0.25),
        ("image_to_ecg", "QRS", None),
        ("image_to_ecg_occlusion", "QRS", None),
        ("image_to_ecg_leads", LEADS[LEAD], 1 / 12),
        ("image_to_ecg_occlusion_leads", LEADS[LEAD], 1 / 12),
    ):
        row = _row(rows, kind, region)
        assert row["share_of_mass"] >= 0.95, row
        assert _row(rows, kind + "_pointing", region)["share_of_mass"] >= 0.95
        assert area is None or row["share_of_area"] == pytest.approx(area, abs=1e-6)
        assert row["ratio"] == pytest.approx(row["share_of_mass"] / row["share_of_area"], rel=1e-4)


def test_the_table_is_as_agreed(planted: Path):
    rows = _rows(planted)
    assert all(set(row) == KEYS for row in rows)
    assert {row["control"] for row in rows} == {None, "untrained", "shuffled", "edges"}
    assert {row["region"] for row in rows if row["kind"] == "ecg_to_image"} == {
        "outside",
        "LV cavity",
        "myocardium",
        "RV cavity",
        "heart",
    }
    assert {row["n"] for row in rows if row["control"] == "edges"} == {10}


def test_steepness_alone_is_not_where_the_pair_reads(planted: Path):
    assert _row(_rows(planted), "ecg_to_image", "LV cavity", "edges")["ratio"] < 1.2
    checks = json.loads((planted / "localisation_checks.json").read_text())
    above = [row for row in checks["above_controls"] if (row["kind"], row["control"]) == ("ecg_to_image", "edges")]
    assert next(row for row in above if row["region"] == "LV cavity")["ci_low"] > 1
    assert checks["maps"]["places"]["ecg_to_image"] == [1, 16, 16]


def test_figures_are_written(planted: Path):
    names = {path.name for path in planted.iterdir()}
    assert {"localisation_ratios.png", "localisation_image.png", "localisation_randomisation.png"} <= names
    assert {"localisation_beat_1.gif", "localisation_beat_1.png", "localisation_ecg_published_1.png"} <= names
    assert all((planted / name).stat().st_size > 1000 for name in names)


def test_a_pair_that_reads_nothing_gets_ratios_of_one(tmp_path: Path):
    options = LocalisationOptions(resamples=50, examples=0, checked=0)
    localisation(planted_context(tmp_path / "cohort", blind_pair()), tmp_path / "out", options)
    published = [row for row in _rows(tmp_path / "out") if row["kind"] in ("ecg_to_image", "image_to_ecg")]
    own = [row for row in published if row["control"] is None]
    assert len(own) == 11
    for row in own:
        assert row["ci_low"] - 1e-6 <= 1.0 <= row["ci_high"] + 1e-6
        assert row["ratio"] == pytest.approx(1.0, abs=1e-5)
    # Nothing changes when a place is hidden, so that there is no mass to share.
    hidden = [row for row in _rows(tmp_path / "out") if "occlusion" in row["kind"] and row["control"] is None]
    assert hidden
    assert all(row["ratio"] is None and row["n"] == 0 for row in hidden)


@pytest.mark.long
def test_without_truth_leads_alone_are_scored(tmp_path: Path):
    options = LocalisationOptions(COARSE, resamples=20, examples=1, checked=0)
    localisation(planted_context(tmp_path / "cohort", planted_pair(), truth=None), tmp_path / "out", options)
    assert {row["kind"].removesuffix("_pointing") for row in _rows(tmp_path / "out")} == {
        "image_to_ecg_leads",
        "image_to_ecg_occlusion_leads",
    }
    assert (tmp_path / "out" / "localisation_image.png").is_file()


def test_equal_seeds_give_equal_tables(tmp_path: Path, planted: Path):
    context = planted_context(tmp_path / "cohort", planted_pair(), block=3)
    localisation(context, tmp_path / "out", replace(QUICK, examples=0, checked=0))
    first, second = _rows(planted), _rows(tmp_path / "out")
    for one, other in zip(first, second, strict=True):
        assert {key: one[key] for key in ("kind", "region", "control", "n")} == {
            key: other[key] for key in ("kind", "region", "control", "n")
        }
        assert one["share_of_mass"] == pytest.approx(other["share_of_mass"], abs=1e-5)


def test_one_subject_alone_is_refused(tmp_path: Path):
    context = planted_context(tmp_path / "cohort", planted_pair())
    with pytest.raises(UserError, match="two subjects at least"):
        localisation(replace(context, rows=context.rows[:1]), tmp_path / "out", QUICK)
    with pytest.raises(UserError, match="needs an image encoder"):
        localisation(replace(context, pair=None), tmp_path / "out", QUICK)


def test_the_untrained_pair_is_asked_for_some_recordings_alone(tmp_path: Path):
    options = LocalisationOptions(COARSE, resamples=20, examples=0, checked=0, controlled=2)
    localisation(planted_context(tmp_path / "cohort", planted_pair(), block=4), tmp_path / "out", options)
    rows = [row for row in _rows(tmp_path / "out") if row["kind"] in ("ecg_to_image", "image_to_ecg")]
    assert {row["n"] for row in rows if row["control"] == "untrained"} <= {0, 1, 2}
    assert {row["n"] for row in rows if row["control"] is None} == {10}


def test_embeddings_that_are_not_finite_are_refused(tmp_path: Path):
    pair = planted_pair()
    with torch.no_grad():
        pair.cmr_encoder.constant.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        Embeddings.of(planted_context(tmp_path / "cohort", pair), pair)


def test_memory_is_bounded_by_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    masks = PlantedTruth.masks

    def counted(self: PlantedTruth, rows: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return masks(self, rows)

    monkeypatch.setattr(PlantedTruth, "masks", counted)
    options = LocalisationOptions(COARSE, resamples=20, examples=0, checked=0)
    localisation(planted_context(tmp_path / "cohort", planted_pair(), block=3), tmp_path / "out", options)
    assert max(seen) <= 3
