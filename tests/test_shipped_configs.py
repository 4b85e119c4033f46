"""Shipped configs by name: wherever a config file is named, from any folder; the user's files come first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ecgcmr.cli import COMMANDS, main
from ecgcmr.config_pieces import ConfigReader, Whole, read_config
from ecgcmr.errors import UserError
from ecgcmr.experiments.cohorts import plan_record
from ecgcmr.experiments.plan_file import load_plan
from ecgcmr.shipped_configs import find_config, name_of_shipped, shipped_configs
from ecgcmr.training.config_files import Composition
from ecgcmr.training.run_claim import default_run_folder

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_config_of_the_repository_has_a_name() -> None:
    assert set(shipped_configs().values()) == set(CONFIGS.rglob("*.yaml"))
    assert {name_of_shipped(path) for path in CONFIGS.rglob("*.yaml")} == set(shipped_configs())
    assert name_of_shipped(CONFIGS / "README.md") is None
    assert name_of_shipped(Path(__file__)) is None


@pytest.mark.parametrize("name", ["mae/demo", "mae/demo.yaml", "configs/mae/demo.yaml"])
def test_a_name_stands_for_the_shipped_file_from_any_folder(name: str, empty: Path) -> None:
    (empty / "mae" / "demo").mkdir(parents=True)  # such as a run folder below runs
    assert find_config(name) == CONFIGS / "mae" / "demo.yaml"
    assert default_run_folder(["-c", name]) == Path("runs/mae/demo")


@pytest.mark.parametrize(
    ("file", "name"),
    [("mae/demo", "mae/demo"), ("mae/demo.yaml", "mae/demo"), ("configs/mae/demo.yaml", "configs/mae/demo.yaml")],
)
def test_a_file_of_the_user_wins(file: str, name: str, empty: Path) -> None:
    (empty / file).parent.mkdir(parents=True)
    (empty / file).write_text("trainer: {max_epochs: 3}\n")
    assert find_config(name).resolve() == empty / file


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("mae/demoo", "close to it: mae/demo"),
        ("configs/mae/dmo.yaml", "close to it: mae/demo"),
        ("../mae/demo.yaml", "the one that comes with ecgcmr is named mae/demo$"),
        ("ptacl", "close to it: objectives/ptacl$"),
        ("../../etc/passwd", "'ecgcmr configs' lists"),
    ],
)
def test_an_unknown_name_lists_close_ones(name: str, close: str, empty: Path) -> None:
    with pytest.raises(UserError, match=rf"there is no config file .*{close}"):
        find_config(name)


def test_an_unknown_experiment_lists_close_ones_alone(empty: Path) -> None:
    with pytest.raises(UserError, match=r"there is no experiment file dmo; .*; close to it: experiments/demo$"):
        load_plan(Path("dmo"))
    with pytest.raises(UserError, match=r"there is no experiment file nothing; .*; 'ecgcmr configs' lists"):
        load_plan(Path("nothing"))


def test_a_command_line_of_names_is_that_of_paths(empty: Path) -> None:
    words = ["-c", "alignment/demo", "-c", "objectives/siglip", "--model.ecg_encoder", "encoders/ecg_cnn"]
    words += ["--search", "searches/finetune"]
    paths = [str(CONFIGS / f"{word}.yaml") if word in shipped_configs() else word for word in words]
    assert Composition("fit", words).arguments() == Composition("fit", paths).arguments()


def test_pieces_and_bases_of_a_config_are_named(empty: Path) -> None:
    (empty / "my.yaml").write_text(
        "base: [mae/demo, objectives/siglip.yaml]\n"
        "model: {init_args: {encoder: {base: encoders/ecg_cnn, init_args: {width: 8}}}}\n"
        "data: {init_args: {augmentation: augmentations/ecg_strong, root: mae/demo}}\n"
        "trainer: {base: trainers/same_digits}\n"
    )
    config = read_config(empty / "my.yaml")
    mae = read_config(CONFIGS / "mae" / "demo.yaml")
    assert config["model"]["init_args"]["encoder"]["class_path"] == "ecgcmr.encoders.ECGCNN"
    assert config["model"]["init_args"]["encoder"]["init_args"]["width"] == 8
    assert config["trainer"] == mae["trainer"]
    assert config["data"]["init_args"]["root"] == "mae/demo"  # a config, and no part of one: it stays a text
    strong = ConfigReader().part("augmentations/ecg_strong")
    assert isinstance(strong, Whole)
    assert config["data"]["init_args"]["augmentation"] == strong


def test_a_part_of_an_unknown_name_is_refused_with_close_ones(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "-c", "mae/demo", "--model.encoder", "encoders/ecg_cn", "--print_config"]) == 2
    assert "close to it: encoders/ecg_cnn" in capsys.readouterr().err


def test_an_experiment_is_found_by_name_and_names_its_configs(empty: Path) -> None:
    plan = load_plan(Path("demo"), overrides=["stages.mae.config=mae/ptbxl", "encoder=encoders/ecg_vit"])
    assert plan.path == CONFIGS / "experiments" / "demo.yaml"
    assert Path(plan.stages["mae"].config) == CONFIGS / "mae" / "ptbxl.yaml"
    assert plan.encoder is not None
    content = yaml.safe_load((CONFIGS / "experiments" / "demo.yaml").read_text().replace("../", ""))
    (empty / "own.yaml").write_text(yaml.safe_dump({**content, "encoder": "encoders/ecg_vit.yaml"}))
    own = load_plan(Path("own.yaml"))
    assert own.encoder == plan.encoder
    assert own.file(own.stages["mae"].config) == CONFIGS / "mae" / "demo.yaml"


@pytest.mark.parametrize("entry", ["stages.mae.config", "evaluation.tasks.phenotypes.set.search"])
def test_an_override_that_names_no_config_is_refused_with_close_ones(entry: str, empty: Path) -> None:
    with pytest.raises(UserError, match=rf"^{entry}: there is no file mae/dmo in {empty}; close to it: mae/demo$"):
        load_plan(Path("demo"), overrides=[f"{entry}=mae/dmo"])


def test_the_record_of_an_experiment_names_shipped_configs_and_is_read_again(empty: Path) -> None:
    plan = load_plan(Path("demo"), overrides=["stages.mae.config=mae/ptbxl"])
    (empty / "experiment.yaml").write_text(plan_record(plan, empty))
    again = load_plan(empty / "experiment.yaml")
    assert again.stages["mae"].config == "mae/ptbxl"
    assert again.file("mae/ptbxl") == plan.file(plan.stages["mae"].config)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_what_help_names_without_a_path_is_shipped(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"] if name else []) == 0
    text = capsys.readouterr().out
    rooms = {known.partition("/")[0] for known in shipped_configs()}
    named = set(re.findall(rf"(?<![\w/.])(?:{'|'.join(rooms)})/[\w+-]+(?![\w/])", text))
    named |= {
        f"experiments/{word}" for word in re.findall(r"^  ecgcmr experiment ([a-z]\w+)(?= |$)", text, re.MULTILINE)
    }
    assert named <= set(shipped_configs())
    assert named or name not in ("", "fit", "experiment")
