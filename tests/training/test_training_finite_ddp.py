"""Two real ranks: where one diverges both stop with the same line; and the recipe's sync_batchnorm on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_configs
import warm_runs
import yaml

pytestmark = [pytest.mark.multiprocess, pytest.mark.slow]
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
QUIET = ["--trainer.logger=false", "--trainer.enable_model_summary=false", "--trainer.max_epochs=1"]
LINES = {
    "loss": r"the loss is nan, of a batch of row ",
    "number": r"the loss is inf, of a batch of row ",
    "input": r"the batch itself holds NaN or infinity in row ",
}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=() if what == "loss" else pytest.mark.long) for what in LINES]
)
def test_where_one_rank_diverges_both_stop_with_one_line(what: str, tmp_path: Path, cohort_root: Path) -> None:
    path = tiny_configs.write_mae(tmp_path, cohort_root)
    content = yaml.safe_load(path.read_text())
    arguments = {"batch": 1, "rank": 1, "what": what}
    content["trainer"]["callbacks"] = [{"class_path": "diverging.BreaksOneRank", "init_args": arguments}]
    path.write_text(yaml.safe_dump(content))
    plan = warm_runs.plan(["fit", "-c", str(path), *TWO, *QUIET], ranks=2, code=2, timeout_s=60)
    output = warm_runs.run([plan], tmp_path / "log")
    # Once on each rank; the two may write at the same moment, on one line.
    assert output.count(f"(epoch 0, batch 1, rank 1): {LINES[what]}") == 2, output[-4000:]
    left = {path.name for path in tmp_path.rglob("*")}
    assert left.isdisjoint({"best.ckpt", "last.ckpt", "encoder.safetensors", "encoder.yaml"}), left
    assert "Traceback" not in output


def test_sync_batchnorm_is_off_with_a_note_on_a_cpu(tmp_path: Path, cohort_root: Path) -> None:
    path = tiny_configs.write_alignment(tmp_path, cohort_root)
    command = ["fit", "-c", str(path), *TWO, *QUIET, "--trainer.sync_batchnorm=true"]
    output = warm_runs.run([warm_runs.plan(command, ranks=2, timeout_s=60)], tmp_path / "log")
    assert output.count("note: trainer.sync_batchnorm is off") == 1
    assert (path.with_suffix("") / "encoder.safetensors").is_file()
