"""Entries of an experiment overridden on the command line, its record, and one encoder for a whole chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_configs
import yaml

from ecgcmr.cli import main
from ecgcmr.encoders import read_encoder_card
from ecgcmr.errors import UserError
from ecgcmr.experiments.config_checks import exported, read_settings
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.experiments.plan_state import plan_fingerprint

SHIPPED = Path(__file__).resolve().parents[2] / "configs" / "experiments"
ENCODERS = SHIPPED.parent / "encoders"
DOCS = SHIPPED.parents[1] / "docs"


def write(folder: Path, root: Path, **evaluation: Any) -> Path:
    """Write an experiment: contrast of ECGs, alignment from its weights, a fine-tuning; all tiny."""
    contrast = {
        "modality": "ecg",
        "encoder": tiny_configs.ENCODER,
        "views": {"class_path": "ecgcmr.stages.views.AugmentedViews", "init_args": {}},
        "projection_hidden": 8,
        "projection_size": 8,
    }
    contrast["views"]["init_args"] = {"augmentation": str(ENCODERS.parent / "augmentations" / "ecg_light.yaml")}
    simclr = tiny_configs.write_config(
        folder / "simclr.yaml", "unimodal.UnimodalContrast", contrast, "ECGDataModule", root
    )
    aligned = tiny_configs.write_alignment(folder, root)
    downstream = tiny_configs.write_downstream(folder, root, "PhenotypeRegression", ["lv_edv"])
    content = {
        "cohort": {"root": str(root)},
        "stages": {
            "simclr": {"config": simclr.name, "set": {"trainer.max_epochs": 1}},
            "simclr+alignment": {
                "config": aligned.name,
                "start_from": {"ecg_encoder_weights": "simclr"},
                "set": {"trainer.max_epochs": 1},
            },
        },
        "evaluation": {
            "tasks": {"volumes": {"task": "regression", "targets": ["LV"], "finetune": downstream.name}},
            "labels": [20],
            "linear_probe": ["random", "simclr+alignment"],
            "finetune": ["scratch", "simclr+alignment"],
            "random_encoder_of": "simclr",
            "resamples": 20,
            **evaluation,
        },
    }
    path = folder / "trial.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_dotted_overrides_change_any_entry(tmp_path: Path, cohort_root: Path) -> None:
    plan = load_plan(
        write(tmp_path, cohort_root),
        overrides=[
            "evaluation.windows=2",
            "evaluation.labels=[10, all, 5 %]",
            "stages.simclr+alignment.set.trainer.max_epochs=3",
            "stages.simclr+alignment.set.model.objective={class_path: A, init_args: {b: 1}}",
            "stages.simclr.set={}",
            "evaluation.tasks.volumes.targets=[RV]",
            "description=as on the command line",
        ],
    )
    assert plan.evaluation.windows == 2
    assert plan.evaluation.labels == [10, "all", "5 %"]
    changed = plan.stages["simclr+alignment"]
    assert changed.set == {
        "trainer.max_epochs": 3,
        "model.objective": {"class_path": "A", "init_args": {"b": 1}},
    }
    assert changed.config == "alignment.yaml"
    assert plan.stages["simclr"].set == {}
    assert plan.evaluation.tasks["volumes"].targets == ["RV"]
    assert plan.description == "as on the command line"


def test_an_override_of_one_stage_leaves_those_of_the_same_anchor_alone() -> None:
    plan = load_plan(SHIPPED / "turgut2025.yaml", overrides=["stages.mae.set.trainer.devices=4"])
    assert plan.stages["mae"].set == {"trainer.devices": 4}
    assert plan.stages["simclr"].set == {"trainer.devices": 1}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluation.windwos=2", "evaluation: unknown entry 'windwos'; did you mean 'windows'"),
        ("evaluation.windows=two", "evaluation: windows is 'two'; expected a whole number"),
        ("evaluation.windows=1.5", "windows is 1.5; expected a whole number"),
        ("evaluation.windows=${seed}", r"windows: '\$\{seed\}' is not read: references .* stand in set and encoder"),
        ("evaluation.labels=[1.5]", r"evaluation: labels is \[1\.5\]; expected a list of whole numbers or texts"),
        ("stages.simclr+alignmet.set.a=1", r"there is no 'simclr\+alignmet'; did you mean 'simclr\+alignment'"),
        ("stages.simclr.sett.a=1", "stages.simclr: unknown entry 'sett'; did you mean 'set'"),
        ("stages.simclr=null", "start_from.ecg_encoder_weights: 'simclr' is not one of none so far"),
        ("seed.a=1", "seed is .*expected a whole number"),
        ("seed", "seed: write an override as NAME=VALUE"),
        ("seed=[1", "seed: cannot be read as YAML"),
        ("path=here", "unknown entry 'path'"),
        ("encoder=nowhere.yaml", "encoder: there is no file nowhere.yaml in /"),
        ("encoder={init_args: {a: 1}}", "class_path"),
    ],
)
def test_an_override_that_is_mistaken_is_named_in_one_line(
    tmp_path: Path, cohort_root: Path, override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_plan(write(tmp_path, cohort_root), overrides=[override])
    assert "\n" not in str(caught.value)


NO_SEARCH = [
    f"evaluation.{entry}.set.search=null" for entry in ("tasks.phenotypes", "supervised.scratch", "supervised.cnn")
]
"""Candidates of a search are read one by one, which ``test_all_shipped_experiments_can_be_read`` does."""


@pytest.mark.long
@pytest.mark.parametrize("name", ["turgut2025_small", pytest.param("turgut2025", marks=pytest.mark.long)])
def test_one_override_gives_a_whole_chain_another_encoder(name: str, tmp_path: Path) -> None:
    encoder = tmp_path / "vit.yaml"  # its patches fit windows of 2,500 samples, of 1,250, and halves of these
    encoder.write_text((ENCODERS / "ecg_vit.yaml").read_text().replace("[1, 100]", "[1, 125]"))
    words = [f"encoder={encoder}", *(NO_SEARCH if name == "turgut2025_small" else [])]
    plan = load_plan(SHIPPED / f"{name}.yaml", overrides=words)
    found = read_settings(plan)
    others = [exported(model) for stage, model in found.stages.items() if stage not in ("cmr_simclr", "alignment-cnn")]
    assert {(encoder.class_path, encoder.init_args.size) for encoder in others} == {
        ("ecgcmr.encoders.ECGVisionTransformer", "tiny")
    }
    assert exported(found.stages["clocs"]).init_args.samples == {"turgut2025_small": 1250, "turgut2025": 2500}[name]
    if name == "turgut2025_small":  # that stage names its encoder itself
        assert exported(found.stages["alignment-cnn"]).class_path == "ecgcmr.encoders.ECGCNN"
    if name == "turgut2025":
        assert exported(found.stages["cmr_simclr"]).class_path == "ecgcmr.encoders.CMRResNet"


@pytest.mark.long
def test_the_documented_command_gives_the_published_comparison_a_convolutional_encoder() -> None:
    line = next(line for line in (DOCS / "configs.md").read_text().splitlines() if " encoder=configs/" in line)
    words = [word.replace("=configs/", f"={SHIPPED.parent}/") for word in line.split() if "=" in word]
    assert len(words) == 2
    found = read_settings(load_plan(SHIPPED / "turgut2025.yaml", overrides=words))
    encoders = {stage: exported(model) for stage, model in found.stages.items() if stage != "cmr_simclr"}
    assert {encoder.class_path for encoder in encoders.values()} == {"ecgcmr.encoders.ECGResNet"}
    assert {encoder.init_args.samples for encoder in encoders.values()} == {2500}


@pytest.mark.long
def test_one_stage_has_an_encoder_of_its_own_and_one_of_images_takes_none() -> None:
    words = [f"stages.{stage}.encoder={ENCODERS / 'ecg_cnn.yaml'}" for stage in ("mae+alignment", "cmr_simclr")]
    found = read_settings(load_plan(SHIPPED / "turgut2025.yaml", overrides=words[:1]))
    assert exported(found.stages["mae+alignment"]).class_path == "ecgcmr.encoders.ECGCNN"
    assert exported(found.stages["mae"]).class_path == "ecgcmr.encoders.ECGVisionTransformer"
    with pytest.raises(UserError, match=r"yaml: stages\.cmr_simclr: encoder: is of ECGs, .* model\.encoder"):
        read_settings(load_plan(SHIPPED / "turgut2025.yaml", overrides=words[1:]))


@pytest.mark.long
def test_a_chain_with_another_encoder_runs_and_is_recorded(tmp_path: Path, cohort_root: Path) -> None:
    (tmp_path / "cnn.yaml").write_text(
        "{class_path: ecgcmr.encoders.ECGCNN, init_args: {samples: '${data.samples}', widths: [8, 8]}}"
    )
    path, out = write(tmp_path, cohort_root), tmp_path / "out"
    words = [f"encoder={tmp_path / 'cnn.yaml'}", "evaluation.tasks.volumes.set.trainer.max_epochs=1"]
    assert main(["experiment", str(path), "--out", str(out), "--workers", "1", *words]) == 0
    for stage in ("simclr", "simclr+alignment", "volumes-scratch-20", "volumes-simclr+alignment-20"):
        card = read_encoder_card(out / "stages" / stage)
        assert (card.class_path, card.init_args["widths"]) == ("ecgcmr.encoders.ECGCNN", [8, 8])
        assert card.init_args["samples"] == 1000
    record = yaml.safe_load((out / "experiment.yaml").read_text())
    assert record["encoder"]["init_args"]["widths"] == [8, 8]
    assert record["stages"]["simclr"]["config"] == "../simclr.yaml"
    plan, again = load_plan(path, overrides=words), load_plan(out / "experiment.yaml")
    assert (again.encoder, again.evaluation.tasks["volumes"].set) == (plan.encoder, {"trainer.max_epochs": 1})
    before = (out / "stages" / "simclr" / "stage.json").read_text()
    (out / "results.json").unlink()
    assert main(["experiment", str(path), "--out", str(out), "--workers", "1", *words, "evaluation.resamples=10"]) == 0
    assert (out / "stages" / "simclr" / "stage.json").read_text() == before  # nothing of it has changed
    assert json.loads((out / "results.json").read_text())


def test_a_piece_named_under_set_is_a_part_of_the_plan(
    tmp_path: Path, cohort_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content makes the results, not its path; and no training looks for it in a folder of its choice."""
    (tmp_path / "trial").mkdir()
    path = write(tmp_path / "trial", cohort_root)
    piece = {"class_path": "ecgcmr.encoders.ECGCNN", "init_args": {"samples": 1000, "widths": [8, 8]}}
    named = "stages.simclr.set.model.encoder=piece.yaml"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"stages\.simclr\.set\.model\.encoder: there is no file piece\.yaml in /"):
        load_plan(path, overrides=[named])
    Path("piece.yaml").write_text(yaml.safe_dump(piece))
    assert load_plan(path, overrides=[named]).stages["simclr"].set["model.encoder"] == piece
    assert load_plan(path, overrides=["stages.simclr.set={model.encoder: piece.yaml}"]).stages["simclr"].set == {
        "model.encoder": piece
    }
    content = yaml.safe_load(path.read_text())
    content["stages"]["simclr"]["set"] = {"model.encoder": "piece.yaml"}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"simclr\.set\.model\.encoder: there is no file piece\.yaml in .*trial"):
        load_plan(path)
    prints = []
    for widths in ([8, 8], [8, 16]):
        piece["init_args"] = {"samples": 1000, "widths": widths}
        path.with_name("piece.yaml").write_text(yaml.safe_dump(piece))
        prints.append(plan_fingerprint(load_plan(path)))
    assert prints[0] != prints[1]
