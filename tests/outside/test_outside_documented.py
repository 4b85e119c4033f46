"""docs/extending.md: its examples are the files beside this test, its commands do what they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from lab_files import write_lab, write_predictions
from raw_file_writers import cardiosoft_xml, sample_counts

from ecgcmr.cli import main
from ecgcmr.experiments.cohorts import with_class
from ecgcmr.shards import ShardIndex

HERE = Path(__file__).resolve().parent
TEXT = (HERE.parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
TITLED = dict(re.findall(r"^```\w+ title=\"(.+?)\"\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
COMMANDS = [
    re.findall(r"^ecgcmr (?:.*\\\n)*.*$", section, re.MULTILINE)
    for section in re.split(r"^## \d\. ", TEXT, flags=re.MULTILINE)
]
"""Of each section, 0 being what stands before the first."""
RECORDINGS = """subject,file,split,EF [%],systolic,smoking,rhythm,stroke,follow_up,heart_age
A,a.xml,train,55,120,never,sinus,yes,100,50
B,b.xml,test,45,130,current,af,no,900,60
"""


@pytest.mark.parametrize("name", [name for name in TITLED if name.endswith(".py")])
def test_the_documented_code_is_that_which_is_tested(name):
    assert TITLED[name] == (HERE / name).read_text(encoding="utf-8")
    assert len(TITLED[name].splitlines()) <= 100


def test_the_documented_commands_do_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    raw = write_lab(tmp_path / "raw", ("north",) * 4 + ("south", "west"))
    for number, name in enumerate("ab"):
        (raw / f"{name}.xml").write_bytes(cardiosoft_xml(sample_counts(50 + number)))
    (tmp_path / "recordings.csv").write_text(RECORDINGS)
    (tmp_path / "labels.yaml").write_text(TITLED["labels.yaml"])
    commands = [command for section in COMMANDS[:4] for command in section]
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))[1:]
        quick = ["--no-beats", "--cleaning", "none", "--workers", "1"] if words[0] == "prepare" else []
        assert main([*words, *quick]) == 0, (command, capsys.readouterr().err)
    rows = {name: ShardIndex.load(tmp_path / "data" / name).counts["total"] for name in ("lab", "clinic", "beats")}
    assert rows == {"lab": 7, "clinic": 2, "beats": 9}
    assert len(ShardIndex.load(tmp_path / "data" / "clinic").label_names) == 9


def test_the_documented_entry_of_an_experiment_names_the_same_class():
    (entry,) = re.findall(r"^```yaml\n(cohort:.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    arguments = with_class(yaml.safe_load(entry)["cohort"]["prepare"])
    assert arguments == {
        "collection": "heart_lab.HeartLab",
        "collection_args": ["folder=raw", "least_quality=5"],
        "reader": "beat_reader:BeatReader",
    }


def test_every_section_has_a_complete_example():
    titles = re.findall(r"^## \d\. Your (.+)$", TEXT, re.MULTILINE)
    assert titles == ["data set", "labels", "reader", "encoder", "objective", "stage", "metric", "augmentation"]
    assert sum(name.endswith(".py") for name in TITLED) == 9
    assert all(COMMANDS[1:2] + COMMANDS[3:])  # that of labels is of the folder, in the first section


QUICK = "--trainer.num_sanity_val_steps=0 --trainer.enable_progress_bar=false"
SMALL = {"fit": f"{QUICK} --trainer.max_epochs=1", "evaluate": "--resamples 20 --no-figures"}
BUDGETED = f"{QUICK} --budget.most=2"


@pytest.mark.long
def test_the_documented_encoder_objectives_stage_and_metric_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(HERE.parents[1] / "configs")
    (tmp_path / "data").mkdir()
    (tmp_path / "key").write_bytes(bytes(32))
    for name, text in TITLED.items():
        if name.endswith(".yaml"):
            (tmp_path / name).write_text(text)
    raw = f"--collection-args folder={write_lab(tmp_path / 'raw')} --key-file key --reader beat_reader:BeatReader"
    quick = "--cleaning none --no-beats --workers 1 --out data/lab"
    assert main(shlex.split(f"prepare --collection heart_lab:HeartLab {raw} {quick}")) == 0
    for number, section in enumerate(COMMANDS[4:], 4):
        for k, command in enumerate(section):
            words = shlex.split(command.replace("\\\n", " "))[1:]
            if words[0] == "evaluate":
                write_predictions(tmp_path / "predictions.csv")
            folder = [] if "age.yaml" in words else [f"--trainer.default_root_dir=runs/{number}-{k}"]
            small = BUDGETED if any("configs/downstream/" in word for word in words) else SMALL.get(words[0], "")
            further = [*small.split(), *(folder if words[0] == "fit" else [])]
            assert main([*words, *further]) == 0, (command, capsys.readouterr().err)
