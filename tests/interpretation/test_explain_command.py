"""``ecgcmr explain`` as a user calls it: kinds by what a run holds, its files, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_configs
import torch
import yaml

from ecgcmr.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.long]

CONTRACT = {"kind", "region", "share_of_mass", "share_of_area", "ratio", "ci_low", "ci_high", "control", "n"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cohort_root: Path) -> Path:
    """Folder of an alignment, a masked autoencoder and a regression, each trained for an epoch."""
    folder = tmp_path_factory.mktemp("runs")
    paths = [
        tiny_configs.write_alignment(folder, cohort_root),
        tiny_configs.write_mae(folder, cohort_root),
        tiny_configs.write_downstream(folder, cohort_root, "PhenotypeRegression", ["lv_edv", "lv_mass"]),
    ]
    for path in paths:
        more = ["--model.maps_every_epochs=1"] if path.stem == "alignment" else []
        assert main(["fit", "-c", str(path), "--trainer.max_epochs=1", *more]) == 0
    return folder


def explain(run: Path, root: Path, out: Path, *words: str) -> int:
    return main(["explain", str(run), "--root", str(root), "--out", str(out), "--device", "cpu", *words])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def explained(runs: Path, cohort_root: Path) -> Path:
    """Folder of all kinds, of ten subjects."""
    out = runs / "explained"
    assert explain(runs / "alignment", cohort_root, out, "--subjects", "10") == 0
    return out


def test_an_alignment_is_given_all_kinds(explained: Path) -> None:
    out = explained
    for kind in ("localisation", "attribution", "retrieval", "embedding"):
        assert read(out / f"{kind}.json")
        assert list(out.glob(f"{kind}*.png"))
    entries = read(out / "localisation.json")
    assert all(set(entry) == CONTRACT for entry in entries)
    assert {entry["control"] for entry in entries} == {None, "untrained", "shuffled", "edges"}
    assert {entry["n"] for entry in entries} <= set(range(1, 11))
    ways = read(out / "retrieval.json")
    assert {"direction", "recall@1", "recall@5", "recall@10", "median_rank", "chance"} <= set(ways[0])
    assert len(ways) == 2


def test_the_same_call_gives_the_same_numbers_and_kinds_of_one_call_stay_together(
    explained: Path, runs: Path, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(explained, out)
    words = ("--kind", "retrieval", "--subjects", "10")
    assert explain(runs / "alignment", cohort_root, out, *words) == 0
    said = capsys.readouterr().out
    assert "10 recordings of as many subjects (test split)" in said
    assert "retrieval: " in said
    for kind in ("retrieval", "embedding"):
        assert (out / f"{kind}.json").read_bytes() == (explained / f"{kind}.json").read_bytes()
    assert explain(runs / "alignment", cohort_root, out, *words, "--seed", "1") == 2
    assert "holds localisation.json made from other input or with other options" in error_of(capsys)
    assert explain(runs / "alignment", cohort_root, out, *words, "--seed", "1", "--overwrite") == 0
    assert not (out / "embedding.json").is_file()  # of another seed


def test_what_a_run_cannot_be_given_is_refused(
    runs: Path, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(runs / "mae", cohort_root, tmp_path / "out", "--kind", "localisation") == 2
    assert "--kind localisation: " in (line := error_of(capsys))
    assert "can be given embedding; " in line
    assert not (tmp_path / "out").exists()
    more = ("--compare", str(runs / "alignment"), "--projector")
    assert explain(runs / "mae", cohort_root, tmp_path / "out", *more) == 0
    assert {"embedding.json", "projector"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "alignment" in (tmp_path / "out" / "embedding.json").read_text()
    capsys.readouterr()
    assert explain(runs / "alignment", cohort_root, tmp_path / "o", "--kind", "retrieval", *more) == 2
    assert "--compare: belongs to the embedding" in error_of(capsys)


def test_outputs_are_attributed_by_name(
    runs: Path, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = runs / "PhenotypeRegression", tmp_path / "out"
    assert explain(run, cohort_root, out, "--kind", "attribution", "--target", "lv_mass") == 0
    assert [entry["target"] for entry in read(out / "attribution.json")["targets"]] == ["lv_mass"]
    capsys.readouterr()
    assert explain(run, cohort_root, out, "--kind", "attribution", "--target", "lv_massive") == 2
    assert "--target lv_massive: the model predicts lv_edv, lv_mass" in error_of(capsys)
    assert explain(run, cohort_root, out, "--kind", "embedding", "--target", "lv_mass") == 2
    assert "--target: names what attribution is about" in error_of(capsys)


def test_another_head_on_the_same_encoder_is_another_model_and_no_picture_is_left_of_an_earlier_target(
    runs: Path, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = runs / "PhenotypeRegression", tmp_path / "out"
    words = ("--subjects", "4", "--kind", "attribution", "--target")
    assert explain(run, cohort_root, out, "--kind", "embedding", "--subjects", "4") == 0
    assert explain(run, cohort_root, out, *words, "lv_mass") == 0
    assert explain(run, cohort_root, out, *words, "lv_edv") == 0
    assert not list(out.glob("attribution_lv_mass*"))
    assert list(out.glob("attribution_lv_edv*"))
    assert (out / "concepts.json").is_file()
    other = tmp_path / "other"
    shutil.copytree(run, other)
    loaded = torch.load(other / "best.ckpt", weights_only=True)
    loaded["state_dict"]["head.weight"] = -loaded["state_dict"]["head.weight"]
    torch.save(loaded, other / "best.ckpt")
    capsys.readouterr()
    assert explain(other, cohort_root, out, *words, "lv_edv") == 2
    assert "made from other input or with other options" in error_of(capsys)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--subjects", "2"), "--subjects 2: must be at least 3"),
        (("--split", "testing"), "--split 'testing': choose one of train, val, test"),
        (("--kind", "all", "--kind", "retrieval"), "--kind all: already holds every other kind"),
        (("--device", "nowhere"), "--device nowhere: there is none here"),
        (("--seed", "-1"), "--seed -1: must be at least 0"),
    ],
)
def test_an_option_that_is_a_mistake_is_named(
    runs: Path, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    assert main(["explain", str(runs / "mae"), "--root", str(cohort_root), "--out", str(tmp_path / "o"), *words]) == 2
    assert reason in error_of(capsys)


def test_a_folder_that_is_no_run_and_a_cohort_of_another_preparation_are_refused(
    runs: Path, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(tmp_path, cohort_root, tmp_path / "out") == 2
    assert "holds neither model.yaml nor encoder.yaml" in error_of(capsys)
    other = tmp_path / "other"
    shutil.copytree(runs / "alignment", other)
    card = other / "encoder.yaml"
    content = yaml.safe_load(card.read_text())
    content["preparation"]["sampling_rate"] = 250.0
    card.write_text(yaml.safe_dump(content))
    assert explain(other, cohort_root, tmp_path / "out", "--kind", "retrieval") == 2
    assert "was prepared otherwise than the model's recordings (sampling rate (Hz) 250.0 -> 500.0" in error_of(capsys)
    (other / "best.ckpt").unlink()
    assert explain(other, cohort_root, tmp_path / "out") == 2
    assert "best.ckpt: no such file" in error_of(capsys)


def test_leads_that_training_left_out_are_shown_with_a_note(
    runs: Path, cohort_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "mae"
    shutil.copytree(runs / "mae", other)
    card = yaml.safe_load((other / "encoder.yaml").read_text())
    card["training"]["leave_out_leads"] = ["noisy"]
    (other / "encoder.yaml").write_text(yaml.safe_dump(card))
    assert explain(other, cohort_root, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "note: embedding: show the network every lead; training left out leads that are noisy" in said


def test_maps_of_the_same_subjects_are_drawn_while_an_alignment_trains(runs: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = {path.parent for path in (runs / "alignment").rglob("events.out.*")}
    log = EventAccumulator(str(events), size_guidance={"images": 0})
    log.Reload()
    assert len(log.Images("val/localisation")) == 1
