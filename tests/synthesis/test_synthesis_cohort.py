"""A cohort must be the same whatever the workers, shards or interruptions, and the same as its prepared raw files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.phenotypes import phenotypes
from ecgcmr.preparation.cine_options import CineOptions
from ecgcmr.preparation.labels import label_schema
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.shards.annotations import StoredAnnotations, read_masks, read_r_peaks, read_waves
from ecgcmr.shards.index import ShardIndex, read_cmr, read_ecgs, read_labels
from ecgcmr.synthesis import cohort, oracle
from ecgcmr.synthesis.cohort import SynthesisOptions, synthesize
from ecgcmr.synthesis.population import cohort_key, draw_population
from ecgcmr.verification.cohort import verify_cohort

SUBJECTS, SEED = 7, 4


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module", autouse=True)
def small_oracle():
    """The oracle's own quality is tested beside it; here a small population serves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracle, "fit_oracle", partial(oracle.fit_oracle, population=600))
        yield


@pytest.fixture(scope="module")
def bulk(tmp_path_factory):
    out = tmp_path_factory.mktemp("bulk") / "cohort"
    synthesize(SynthesisOptions(SUBJECTS, SEED, out, workers=1, size=48, shard_size=4))
    return out


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    out = tmp_path_factory.mktemp("raw") / "cohort"
    synthesize(SynthesisOptions(SUBJECTS, SEED, out, format="raw", workers=1, slices=3))
    return out


def test_shards_hold_every_subject_once(bulk):
    index = ShardIndex.load(bulk)
    assert index.counts["total"] == index.counts["with_both"] == SUBJECTS
    assert [shard["rows"] for shard in json.loads((bulk / "index.json").read_text())["shards"]] == [4, 3]
    rows = np.arange(SUBJECTS)
    ecgs, frames = read_ecgs(index, rows), read_cmr(index, rows)
    assert ecgs.shape == (SUBJECTS, 12, 5000)
    assert frames.shape == (SUBJECTS, 3, 48, 48)
    np.testing.assert_allclose(ecgs[:, 6:].std(axis=(1, 2)), 1.0, atol=0.01)
    assert frames.std(axis=(1, 2, 3)).min() > 20


def test_shards_hold_the_truth_of_frames_and_waves(bulk):
    index = ShardIndex.load(bulk)
    rows = np.arange(SUBJECTS)
    assert index.counts["with_cmr_mask"] == SUBJECTS
    assert index.layout.preparation["beats"] == {"source": "generator", "share": 0.05}
    frames, masks = read_cmr(index, rows), read_masks(index, rows)
    assert set(np.unique(masks)) == {0, 1, 2, 3}
    cavity, wall = (np.count_nonzero(masks == value, axis=(2, 3)) for value in (1, 2))
    assert (cavity[:, 0] < cavity[:, 2]).all()  # ES before ED
    assert (wall > 50).all()
    for one, mask in zip(frames, masks, strict=True):
        assert one[mask == 1].mean() > 1.5 * one[mask == 2].mean()  # bright blood, dark muscle
    peaks, waves = read_r_peaks(index, rows), read_waves(index, rows)
    assert ((peaks >= 0).sum(axis=1) >= 6).all()
    assert waves.shape == (SUBJECTS, 64, 8)
    assert ((waves >= 0).any(axis=2) <= (peaks >= 0)).all()
    stored = StoredAnnotations(index)
    assert stored.has_masks
    assert stored.waves_are_true
    assert verify_cohort(bulk) == []


@pytest.mark.slow
def test_prepared_raw_files_are_the_shards(bulk, raw, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(cohort_key(SEED))
    out = tmp_path / "prepared"
    options = PrepareOptions(
        out,
        ecg=raw / "ecg",
        cmr=raw / "cmr",
        tables=(raw / "phenotypes.csv", raw / "diagnoses.csv"),
        workers=1,
        cine=CineOptions(size=48),
        beats=False,
        shard_size=4,
        key_file=key,
    )
    report = prepare(options)
    assert not report.skipped
    ours, theirs = ShardIndex.load(bulk), ShardIndex.load(out)
    plain = {name: value for name, value in ours.layout.preparation.items() if name != "beats"}
    assert replace(ours.layout, ecg=replace(ours.layout.ecg, max_beats=0), preparation=plain) == theirs.layout
    np.testing.assert_array_equal(ours.subjects(), theirs.subjects())
    rows = np.arange(SUBJECTS)
    np.testing.assert_array_equal(read_ecgs(ours, rows), read_ecgs(theirs, rows))
    names = ours.label_names
    np.testing.assert_array_equal(read_labels(ours, names, rows), read_labels(theirs, names, rows))
    bulk_frames, raw_frames = (read_cmr(index, rows).astype(float) for index in (ours, theirs))
    true, stored = read_masks(ours, rows), read_masks(theirs, rows)
    assert (stored[:, 1] == 255).all()  # raw files hold no segmentation of mid-beat
    for value in (1, 2, 3):
        one, other = true[:, ::2] == value, stored[:, ::2] == value
        assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.9  # sampled at 2.0 and 1.8 mm
    for one, other in zip(bulk_frames, raw_frames, strict=True):
        # The same picture but for sampling (2.0 and 1.8 mm) and noise.
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98


def test_raw_files_have_the_names_of_a_biobank(raw):
    population = draw_population(SUBJECTS, SEED)
    assert len(set(population.eids)) == SUBJECTS
    for eid in population.eids:
        assert 1_000_000 <= eid <= 9_999_999
        assert (raw / "ecg" / f"{eid}_20205_2_0.xml").is_file()
        names = {path.name for path in (raw / "cmr" / str(eid)).iterdir()}
        assert names == {"sa.nii.gz", "sa_ED.nii.gz", "sa_ES.nii.gz", "seg_sa_ED.nii.gz", "seg_sa_ES.nii.gz"}
    assert {p.name for p in raw.iterdir()} == {
        *("ecg", "cmr", "cohort.json", "phenotypes.csv", "diagnoses.csv", "oracle.csv"),
    }


def test_workers_and_shard_size_change_no_subject(bulk, tmp_path):
    synthesize(SynthesisOptions(SUBJECTS, SEED, tmp_path / "b", workers=1, size=48, shard_size=3))
    one, other = ShardIndex.load(bulk), ShardIndex.load(tmp_path / "b")
    rows = np.arange(SUBJECTS)
    np.testing.assert_array_equal(one.subjects(), other.subjects())
    np.testing.assert_array_equal(read_cmr(one, rows), read_cmr(other, rows))
    np.testing.assert_array_equal(read_ecgs(one, rows), read_ecgs(other, rows))


@pytest.mark.long
@pytest.mark.multiprocess
def test_the_same_seed_gives_the_same_bytes_with_two_workers(bulk, tmp_path):
    synthesize(SynthesisOptions(SUBJECTS, SEED, tmp_path / "b", workers=2, size=48, shard_size=4))
    assert _files(tmp_path / "b") == _files(bulk)


def test_another_seed_gives_other_subjects(bulk, tmp_path):
    synthesize(SynthesisOptions(2, SEED + 1, tmp_path / "b", workers=1, size=48))
    assert not set(ShardIndex.load(tmp_path / "b").subjects()) & set(ShardIndex.load(bulk).subjects())


def test_a_finished_cohort_is_left_alone_and_a_damaged_shard_is_mended(tmp_path):
    options = SynthesisOptions(5, SEED, tmp_path / "c", workers=1, size=16, shard_size=2)
    assert synthesize(options).written == 3
    before = _files(options.out)
    times = {path: path.stat().st_mtime_ns for path in options.out.rglob("*.h5")}
    assert (synthesize(options).written, synthesize(options).kept) == (0, 3)
    assert times == {path: path.stat().st_mtime_ns for path in options.out.rglob("*.h5")}
    (options.out / "shards" / "shard-00001.h5").write_bytes(b"cut off")
    (options.out / "oracle.csv").unlink()
    assert (summary := synthesize(options)).written == 1
    assert summary.kept == 2
    assert _files(options.out) == before


def test_an_interrupted_raw_cohort_goes_on(raw):
    before = _files(raw)
    eid = draw_population(SUBJECTS, SEED).eids[0]
    options = SynthesisOptions(SUBJECTS, SEED, raw, format="raw", workers=1, slices=3)
    (raw / "cmr" / str(eid) / "sa.nii.gz").unlink()
    summary = synthesize(options)
    assert (summary.written, summary.kept) == (1, SUBJECTS - 1)
    assert _files(raw) == before
    (raw / "oracle.csv").unlink()
    assert synthesize(options).written == 0
    assert _files(raw) == before


def test_shards_of_another_generator_are_rendered_anew_and_raw_files_refused(bulk, raw, tmp_path, monkeypatch):
    options = SynthesisOptions(2, SEED, tmp_path / "c", workers=1, size=16)
    synthesize(options)
    monkeypatch.setattr(cohort, "generator_fingerprint", lambda: "0" * 64)
    assert synthesize(options).written == 1
    with pytest.raises(UserError, match="another version"):
        synthesize(SynthesisOptions(SUBJECTS, SEED, raw, format="raw", workers=1, slices=3))


def test_a_folder_with_something_else_is_refused(bulk, tmp_path):
    with pytest.raises(UserError, match="another synthetic cohort.*seed 4"):
        synthesize(SynthesisOptions(SUBJECTS, SEED + 1, bulk, workers=1, size=48, shard_size=4))
    with pytest.raises(UserError, match="another synthetic cohort.*format shards"):
        synthesize(SynthesisOptions(SUBJECTS, SEED, bulk, format="raw", workers=1))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        synthesize(SynthesisOptions(2, SEED, tmp_path, workers=1))
    file = tmp_path / "thesis.txt"
    with pytest.raises(UserError, match="cannot be used"):
        synthesize(SynthesisOptions(2, SEED, file / "below", workers=1))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "cohort.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        synthesize(SynthesisOptions(2, SEED, damaged, workers=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"subjects": 0}, "--subjects 0"), ({"seed": -1}, "--seed -1"), ({"format": "dicom"}, "--format dicom"),
     ({"workers": 0}, "--workers 0"), ({"shard_size": 0}, "--shard-size 0"), ({"size": 2}, "size 2")],
)  # fmt: skip
def test_bad_options_are_told_in_one_line(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        synthesize(SynthesisOptions(**{"subjects": 2, "seed": 0, "out": tmp_path / "o", **changes}))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_labels_have_diseases_and_gaps():
    population = draw_population(400, SEED)
    labels = population.labels(population.events.censoring_date)
    names = [label.name for label in label_schema()]
    for name, truth in population.events.labels().items():
        np.testing.assert_array_equal(labels[:, names.index(name)], truth.astype(np.float32), err_msg=name)
    true_sizes = population.state.observed_phenotypes[:, 0]
    np.testing.assert_allclose(labels[:, 0], true_sizes, atol=1e-3)
    assert labels.shape[1] == len(phenotypes()) + 5 + 9 + 3
    assert 0.001 < np.isnan(labels[:, : len(phenotypes())]).mean() < 0.2
    assert np.isfinite(labels[:, len(phenotypes()) : len(phenotypes()) + 5]).all()
    ever = labels[:, [names.index(f"{disease}_ever") for disease in ("cad", "af", "dm")]]
    assert ((ever.mean(axis=0) > 0.02) & (ever.mean(axis=0) < 0.6)).all()


@pytest.mark.parametrize(("folder", "column"), [("bulk", "subject"), ("raw", "eid")])
def test_the_oracle_speaks_of_every_subject(request, folder, column):
    root = request.getfixturevalue(folder)
    with (root / "oracle.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0]) == [column, *(p.name for p in phenotypes()), "cad_ever", "af_ever", "dm_ever"]
    if column == "subject":
        assert [line[column] for line in lines] == ShardIndex.load(root).subjects().tolist()
    else:
        assert [int(line[column]) for line in lines] == draw_population(SUBJECTS, SEED).eids
    assert all(0 <= float(line["af_ever"]) <= 1 for line in lines)


def test_no_made_up_identifier_reaches_the_shards(bulk):
    eids = [str(eid).encode() for eid in draw_population(SUBJECTS, SEED).eids]
    for name, content in _files(bulk).items():
        assert not any(eid in content for eid in eids), name


def test_the_command_makes_a_cohort_and_names_the_next_step(tmp_path, capsys):
    arguments = ["synthesize", "--subjects", "3", "--seed", "1", "--out", str(tmp_path / "d"), "--size", "16"]
    assert main([*arguments, "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "3 subjects" in shown
    assert f"ecgcmr fit -c mae/demo --data.root {tmp_path / 'd'}" in shown
    assert main([*arguments, "--workers", "1", "--shard-size", "2"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: --out")
    assert "\n" not in error


def test_help_teaches_with_an_example(capsys):
    assert main(["synthesize", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "ecgcmr synthesize --subjects 2000 --seed 0 --out data/demo" in shown
    assert "oracle.csv" in shown
