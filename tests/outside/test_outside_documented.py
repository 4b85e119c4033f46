"""docs/extending.md, sections 1 to 3: its examples are the files beside this test, its commands do what they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from lab_files import write_lab
from raw_file_writers import cardiosoft_xml, sample_counts

from ecgcmr.cli import main
from ecgcmr.experiments.cohorts import with_class
from ecgcmr.shards import ShardIndex

HERE = Path(__file__).resolve().parent
TEXT = (HERE.parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = TEXT[TEXT.index("## 1.") : (TEXT + "\n## 4.").index("\n## 4.")]
TITLED = dict(re.findall(r"^```\w+ title=\"(.+?)\"\n(.*?)^```$", SECTIONS, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^ecgcmr (?:.*\\\n)*.*$", SECTIONS, re.MULTILINE)
RECORDINGS = """subject,file,split,EF [%],systolic,smoking,rhythm,stroke,follow_up,heart_age
A,a.xml,train,55,120,never,sinus,yes,100,50
B,b.xml,test,45,130,current,af,no,900,60
"""


@pytest.mark.parametrize("name", ["heart_lab.py", "beat_reader.py"])
def test_the_documented_classes_are_those_that_are_tested(name):
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
    assert len(COMMANDS) == 5
    for command in COMMANDS:
        words = shlex.split(command.replace("\\\n", " "))[1:]
        quick = ["--no-beats", "--cleaning", "none", "--workers", "1"] if words[0] == "prepare" else []
        assert main([*words, *quick]) == 0, (command, capsys.readouterr().err)
    rows = {name: ShardIndex.load(tmp_path / "data" / name).counts["total"] for name in ("lab", "clinic", "beats")}
    assert rows == {"lab": 7, "clinic": 2, "beats": 9}
    assert len(ShardIndex.load(tmp_path / "data" / "clinic").label_names) == 9


def test_the_documented_entry_of_an_experiment_names_the_same_class():
    (entry,) = re.findall(r"^```yaml\n(cohort:.*?)^```$", SECTIONS, re.MULTILINE | re.DOTALL)
    arguments = with_class(yaml.safe_load(entry)["cohort"]["prepare"])
    assert arguments == {
        "collection": "heart_lab.HeartLab",
        "collection_args": ["folder=raw", "least_quality=5"],
        "reader": "beat_reader:BeatReader",
    }
