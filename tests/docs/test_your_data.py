"""docs/your_data.md: its files as it shows them, its three commands as they stand, on sixty recordings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from csv_folder import write_laboratory
from documented_blocks import ROOT, blocks
from documented_sessions import KEY

from ecgcmr.cli import main

PAGE = ROOT / "docs" / "your_data.md"
SMALL = [
    "--jobs=1",
    "--workers=1",
    "evaluation.resamples=20",
    "evaluation.finetune=[mae]",
    "stages.mae.set.trainer.max_epochs=1",
    *(f"evaluation.tasks.{task}.set.budget.most=4" for task in ("numbers", "findings")),
]
"""What makes the experiment short; nothing of it names a label."""


def shown_files() -> dict[str, str]:
    """Return the files that the page shows under their names."""
    return dict(re.findall(r'^```\w+ title="([\w.]+)"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.slow
@pytest.mark.long
def test_three_commands_go_from_raw_files_to_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "ecgcmr").mkdir(parents=True)
    (tmp_path / "config" / "ecgcmr" / "subject.key").write_bytes(KEY)
    mine, files = write_laboratory(tmp_path / "mine", 60), shown_files()
    (mine / "ecg" / "ecg.yaml").write_text(files["ecg.yaml"])
    (mine / "labels.yaml").write_text(files["labels.yaml"])
    (commands,) = (block for block in blocks(PAGE) if block.note.startswith("run by"))
    further = {"prepare": ["--workers=1"], "experiment": SMALL, "report": []}
    for program, command, *words in commands.calls():
        assert program == "ecgcmr"
        assert main([command, *words, *further.pop(command)]) == 0, command
        if command == "prepare":
            said = capsys.readouterr().err
            assert "not read" not in said
            assert "of no row" not in said
    assert not further
    results = Path("runs", "mine", "results.md").read_text()
    assert "left out: events (no such label)" in results.splitlines()[0]
    lead = results.partition("<!-- details -->")[0]
    assert "ejection" in lead
    assert "Mean AUROC over 4 targets" in lead
    rows = json.loads(Path("runs", "mine", "results.json").read_text())
    rows = rows["rows"] if isinstance(rows, dict) else rows
    targets = {row["target"] for row in rows}
    assert {"ejection", "arrhythmia", "rhythm_sinus", "rhythm_paced", "rhythm_other"} <= targets
    assert not {"age", "sex", "heart_rate"} & targets
    assert {"mae", "random", "age+sex", "features", "features-boosting", "mean"} <= {row["method"] for row in rows}
    assert Path("runs", "mine", "report.html").is_file()
