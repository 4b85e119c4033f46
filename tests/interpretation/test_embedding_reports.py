"""Both analyses as a user gets them: files, contracts, pictures; nobody is named, nothing changes between two calls."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from aligned_context import planted_context, untrained_context
from PIL import Image
from planted_cohort import write_planted
from tiny_configs import ENCODER

from ecgcmr.encoders import ECGVisionTransformer, View, export_encoder
from ecgcmr.errors import UserError
from ecgcmr.interpretation.embedding_report import EmbeddingOptions, embedding
from ecgcmr.interpretation.embeddings import ecg_features, pair_embeddings
from ecgcmr.interpretation.figures.neighbours_figure import draw_neighbours, short_name
from ecgcmr.interpretation.neighbours import neighbours
from ecgcmr.interpretation.retrieval import both_ways
from ecgcmr.interpretation.retrieval_report import RetrievalOptions, retrieval

pytestmark = pytest.mark.slow

QUICK = EmbeddingOptions(resamples=20, umap=False, along=("lv_mass",), bins=2, recordings=3, projector=True)


@pytest.fixture(scope="module")
def written(cohort_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained")
    context = untrained_context(cohort_root)
    retrieval(context, out, RetrievalOptions(resamples=20, queries=1))
    embedding(context, out, QUICK)
    return out


def test_files_hold_what_the_contract_says(written: Path):
    entries = json.loads((written / "retrieval.json").read_text())
    assert [entry["direction"] for entry in entries] == ["ecg_to_cmr", "cmr_to_ecg"]
    for entry in entries:
        assert {"recall@1", "recall@5", "recall@10", "median_rank", "chance", "n"} <= set(entry)
        assert entry["chance"] == pytest.approx(1 / 12, abs=1e-6)
        phenotypes = {each["phenotype"] for each in entry["retrieved_phenotypes"]}
        assert phenotypes == {"lv_edv", "lv_esv", "lv_ef", "lv_mass", "rv_edv", "rv_ef"}
    found = json.loads((written / "embedding.json").read_text())
    assert found["n"] == found["subjects"] == 12
    assert sum(found["explained_variance"]["ecg"]) == pytest.approx(1, abs=0.05)
    assert set(found["cka"]["ecg"]) == {"ecg", "cmr", "ecg_projected", "cmr_projected", "ecg_untrained"}
    assert found["maps"] == ["PCA"]
    concepts = json.loads((written / "concepts.json").read_text())
    assert [entry["target"] for entry in concepts["concepts"]] == found["labels"]
    assert len(concepts["segments"]) == 48
    assert {entry["segment"] for entry in concepts["segments"]} == set(range(1, 17))
    assert [each["target"] for each in concepts["along"]] == ["lv_mass"]
    assert concepts["rows"] == {"chosen": 12, "train": 52, "val": 16}


def test_pictures_are_there_and_whole(written: Path):
    names = ["retrieval", "retrieval_neighbours_1", "embedding", "embedding_common", "concepts", "concepts_bullseye"]
    for name in [*names, "concepts_ecg_lv_mass"]:
        with Image.open(written / f"{name}.png") as image:
            image.load()
            assert min(image.size) > 390
            assert np.asarray(image.convert("L")).std() > 5


def test_nothing_names_a_subject(written: Path, cohort_root: Path):
    context = untrained_context(cohort_root)
    hashes = [name.encode() for name in context.index.subjects()]
    files = [path for path in written.rglob("*") if path.is_file()]
    assert any(path.name == "metadata.tsv" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(name in content for name in hashes), path
    context_rows = context.rows[:12]
    rows = np.arange(12)
    embedded = pair_embeddings(context)
    found = both_ways(embedded.ecg_projected, embedded.cmr_projected, context.subjects())[0]
    labels, ecg = context.index.layout.labels[:2], context.index.layout.ecg
    assert ecg is not None
    shown = neighbours(context, found, labels, queries=3, count=4)
    assert [each.rank for each in shown] == sorted(each.rank for each in shown)
    for each in shown:
        assert each.frame == "ED"
        assert len(each.nearest) == 4
        place = int(np.flatnonzero(context_rows == each.row)[0])
        assert [heart.row for heart in each.nearest] == context_rows[found.order[place, :4]].tolist()
        assert [heart.own for heart in each.nearest] == (rows[found.order[place, :4]] == place).tolist()
    texts = [text.get_text() for axes in draw_neighbours(shown[0], ecg, labels).axes for text in axes.texts]
    assert f"row {shown[0].row}" in texts
    assert not any(name.decode() in text for name in hashes for text in texts)


@pytest.mark.long
def test_few_recordings_stop_no_embedding(cohort_root: Path, tmp_path: Path):
    context = untrained_context(cohort_root)
    context = replace(context, rows=context.rows[:3])  # fewer than two for each of the bins
    embedding(context, tmp_path, EmbeddingOptions(resamples=20, umap=False, along=("lv_mass",), control=False))
    assert json.loads((tmp_path / "concepts.json").read_text())["along"][0]["bins"] == []


@pytest.mark.long
def test_a_shuffled_alignment_never_pairs_a_subject_with_itself(cohort_root: Path, tmp_path: Path):
    """Three subjects have two ways to be shuffled so, whatever the seed."""
    context = untrained_context(cohort_root)
    for seed in range(4):
        embedded = pair_embeddings(three := replace(context, rows=context.rows[:3], seed=seed))
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (embedded.ecg_projected, embedded.cmr_projected))
        embedding(three, tmp_path, EmbeddingOptions(resamples=5, umap=False, along=(), control=False, labels=("age",)))
        shuffled = json.loads((tmp_path / "embedding.json").read_text())["alignment_shuffled"]
        ways = [np.mean(((a - b[np.roll(np.arange(3), step)]) ** 2).sum(axis=1)) for step in (1, 2)]
        assert any(abs(shuffled - way) < 1e-4 for way in ways)


def test_the_projector_has_labels_and_rows(written: Path, cohort_root: Path):
    tables = sorted((written / "projector").rglob("metadata.tsv"))
    assert len(tables) == 3
    lines = tables[0].read_text().splitlines()
    assert lines[0].split("\t")[:2] == ["row", "lv_mass (g)"]
    assert [int(line.split("\t")[0]) for line in lines[1:]] == untrained_context(cohort_root).rows.tolist()
    config = (written / "projector" / "projector_config.pbtxt").read_text()
    assert all(name in config for name in ("ecg", "ecg_projected", "cmr_projected"))
    points = np.loadtxt(tables[0].with_name("tensors.tsv"))
    assert len(points) == 12


def test_two_calls_give_the_same_numbers(written: Path, cohort_root: Path, tmp_path: Path):
    context = replace(untrained_context(cohort_root), block=12)
    retrieval(context, tmp_path, RetrievalOptions(resamples=20, queries=0))
    first, second = ((folder / "retrieval.json").read_text() for folder in (written, tmp_path))
    assert first == second


def test_features_are_those_of_the_encoder_and_are_averaged_over_windows(cohort_root: Path):
    context = untrained_context(cohort_root)
    with torch.inference_mode():
        expected = View(context.ecg(context.rows)).features(context.ecg_encoder).numpy()
    assert np.allclose(ecg_features(context), expected, atol=1e-5)
    several = replace(context, windows=2)
    windows = several.ecg_windows(context.rows)
    with torch.inference_mode():
        expected = sum(View(windows[:, k]).features(context.ecg_encoder).numpy() for k in range(2)) / 2
    assert np.allclose(ecg_features(several), expected, atol=1e-5)


def test_a_diverged_encoder_is_refused(cohort_root: Path, tmp_path: Path):
    context = untrained_context(cohort_root)
    with torch.no_grad():
        context.require_pair().cmr_projection[-1].bias[0] = float("nan")
    with pytest.raises(UserError, match="the image projection: features of 12 of 12 recordings are NaN or infinite"):
        retrieval(context, tmp_path)


def test_without_an_image_encoder_there_is_no_retrieval_but_an_embedding(tmp_path: Path):
    context = planted_context(write_planted(tmp_path / "planted"))
    with pytest.raises(UserError, match="needs an image encoder"):
        retrieval(context, tmp_path / "out")
    embedding(context, tmp_path / "out", EmbeddingOptions(resamples=20, umap=False))
    found = json.loads((tmp_path / "out" / "embedding.json").read_text())
    assert found["alignment"] is None
    assert set(found["effective_rank"]) == {"ecg", "ecg_untrained"}
    assert not (tmp_path / "out" / "embedding_common.png").exists()
    assert not (tmp_path / "out" / "concepts_bullseye.png").exists()
    with pytest.raises(UserError, match="label 'lv_eddv' is not in the index: did you mean lv_edv"):
        embedding(context, tmp_path / "out", EmbeddingOptions(labels=("lv_eddv",)))


def test_a_time_to_an_event_colours_a_map_and_has_no_direction(tmp_path: Path):
    context = planted_context(write_planted(tmp_path / "planted"))
    quick = EmbeddingOptions(labels=("cad_years", "age"), along=("lv_edv",), umap=False, control=False, resamples=10)
    embedding(context, tmp_path / "out", quick)
    concepts = json.loads((tmp_path / "out" / "concepts.json").read_text())["concepts"]
    assert [entry["target"] for entry in concepts] == ["age", "lv_edv"]
    with pytest.raises(UserError, match="cad_years is a time to an event"):
        embedding(context, tmp_path / "out", replace(quick, along=("cad_years",)))


def test_options_out_of_range_are_refused():
    with pytest.raises(UserError, match="bins"):
        EmbeddingOptions(bins=1)
    with pytest.raises(UserError, match="resamples"):
        RetrievalOptions(resamples=0)


@pytest.mark.long
def test_other_runs_enter_the_table_of_cka(cohort_root: Path, tmp_path: Path):
    context, arguments = untrained_context(cohort_root), ENCODER["init_args"]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        other = ECGVisionTransformer(**arguments)
    short = {**arguments, "leads": 3, "patch_size": [3, 50]}
    made = {"same": context.ecg_encoder, "other": other, "short": ECGVisionTransformer(**short)}
    for name, encoder in made.items():
        given = short if name == "short" else arguments
        export_encoder(encoder, tmp_path / name, class_path=ENCODER["class_path"], init_args=given)
    options = EmbeddingOptions(labels=(), umap=False, control=False, resamples=10)
    embedding(context, tmp_path / "out", replace(options, compare=(tmp_path / "same", tmp_path / "other")))
    table = json.loads((tmp_path / "out" / "embedding.json").read_text())["cka"]["ecg"]
    assert table["run same"] == pytest.approx(1.0)
    assert table["run other"] < 0.99
    with pytest.raises(UserError, match="short: its encoder does not take 12 leads at 500 Hz"):
        embedding(context, tmp_path / "out", replace(options, compare=(tmp_path / "short",)))
    with pytest.raises(UserError, match="another run of this name"):
        embedding(context, tmp_path / "out", replace(options, compare=(tmp_path / "same", tmp_path / "same")))


def test_names_for_narrow_places():
    assert [short_name(name) for name in ("lv_edv", "lv_mass", "lv_ef")] == ["LV EDV", "LV mass", "LV EF"]
