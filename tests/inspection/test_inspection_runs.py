"""``ecgcmr inspect RUN``: what a stage logged, as text and figures."""

from __future__ import annotations

import argparse
import io

import numpy as np
import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from ecgcmr.errors import UserError
from ecgcmr.inspection import command
from ecgcmr.inspection.run_folder import Curve, StageRun, is_run, read_run
from ecgcmr.inspection.run_folder_figures import draw_curves

CONFIG = """\
model:
  class_path: ecgcmr.stages.ECGCMRAlignment
  init_args:
    ecg_encoder: {class_path: ecgcmr.encoders.ECGVisionTransformer}
    cmr_encoder: {class_path: ecgcmr.encoders.CMRResNet}
    ecg_encoder_weights: null
"""


def call(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def log(folder, name, values, start=0, wall_time=0.0):
    """Log values at steps from ``start``, a second apart."""
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for step, value in enumerate(values, start):
            writer.add_scalar(name, value, step, walltime=wall_time + step)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "alignment"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    log(folder, "train/loss", [3.0, 2.0, 1.0])
    log(folder, "val/loss", [3.5, float("nan"), 2.5, 2.75])
    log(folder, "epoch", [0.0, 0.0, 1.0, 1.0])
    log(folder, "hp_metric", [-1.0])
    return folder


def test_stage_networks_and_curves_are_read(run):
    found = read_run(run)
    assert (found.name, found.stage) == ("alignment", "ECGCMRAlignment")
    assert found.networks == {"ecg_encoder": "ECGVisionTransformer", "cmr_encoder": "CMRResNet"}
    assert (found.epochs, found.steps) == (2, 4)
    assert [(curve.name, curve.split, curve.what) for curve in found.curves] == [
        ("train/loss", "train", "loss"),
        ("val/loss", "val", "loss"),
    ]
    np.testing.assert_array_equal(found.curves[1].values, [3.5, np.nan, 2.5, 2.75])


def test_a_resumed_run_replaces_what_followed_the_step_it_went_back_to(run):
    log(run, "train/loss", [20.0, 10.0], start=1, wall_time=100.0)
    loss = read_run(run).curves[0]
    np.testing.assert_array_equal(loss.steps, [0, 1, 2])
    np.testing.assert_array_equal(loss.values, [3.0, 20.0, 10.0])
    log(run, "train/loss", [7.0], start=0, wall_time=1000.0)
    np.testing.assert_array_equal(read_run(run).curves[0].values, [7.0])


def test_the_course_of_each_number_is_printed(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(run) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["2", "epochs,", "4", "steps"] in lines
    assert ["val/loss", "4", "3.5", "2.75", "2.5", "2", "3.5", "0"] in lines
    assert ["figures", "in", "inspect-alignment:", "curves.png"] in lines
    with Image.open("inspect-alignment/curves.png") as picture:
        assert picture.width > 400
    assert len(np.unique(np.asarray(Image.open("inspect-alignment/curves.png").convert("L")))) > 20


def test_the_last_picture_of_each_name_is_handed_out(run, tmp_path):
    with SummaryWriter(str(run / "tensorboard")) as writer:
        for step, grey in enumerate((10, 200)):
            writer.add_image("val/reconstruction", np.full((3, 4, 5), grey, dtype=np.uint8), step)
    assert call(run, "--out", tmp_path / "look") == 0
    assert {path.name for path in (tmp_path / "look").glob("[!.]*")} == {"curves.png", "reconstruction.png"}
    picture = np.asarray(Image.open(tmp_path / "look" / "reconstruction.png"))
    assert picture.shape == (4, 5, 3)
    assert (picture == 200).all()


def test_a_run_without_a_log_says_so_and_draws_nothing(run, capsys, tmp_path):
    for file in (run / "tensorboard").iterdir():
        file.unlink()
    (run / "tensorboard").rmdir()
    assert call(run, "--out", tmp_path / "look") == 0
    assert "no TensorBoard log" in capsys.readouterr().out
    assert not (tmp_path / "look").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "cannot be read as YAML"), ("data: 3", "no model.class_path"), ("", "no model.class_path")],
)
def test_a_folder_of_another_kind_is_told(tmp_path, text, message):
    (tmp_path / "config.yaml").write_text(text)
    assert is_run(tmp_path)
    with pytest.raises(UserError, match=message):
        call(tmp_path)


def test_a_log_that_cannot_be_read_is_told_and_one_that_is_cut_off_is_read_so_far(run):
    files = sorted((run / "tensorboard").iterdir())
    whole = read_run(run).curves[0]
    for file in files:
        file.write_bytes(file.read_bytes()[:-10])
    cut = read_run(run).curves[0]
    np.testing.assert_array_equal(cut.values, whole.values[:-1])
    for file in files:
        file.write_bytes(b"\x07" * 200)
    with pytest.raises(UserError, match="^tensorboard: no event can be read"):
        call(run)
    for file in files:
        file.write_bytes(b"")
    assert read_run(run).curves == ()


def test_rows_are_refused(run):
    with pytest.raises(UserError, match="--row: only a prepared folder"):
        call(run, "--row", "1")


@pytest.mark.slow
def test_each_number_has_a_panel_with_its_splits():
    steps = np.arange(3)
    curves = tuple(Curve(name, steps, steps / 2.0) for name in ("grad", "train/loss", "train/ncc", "val/loss"))
    figure = draw_curves(StageRun("demo", "ECGMaskedAutoencoder", {}, 1, curves, {}))
    drawn = {
        axis.get_title(loc="left"): [line.get_label() for line in axis.lines] for axis in figure.axes if axis.lines
    }
    assert drawn == {"grad": ["grad"], "loss": ["train", "val"], "ncc": ["train"]}
    with io.BytesIO() as file:
        figure.savefig(file, format="png")
        assert file.tell() > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--all"], "--all: only a prepared folder or shard"),
        (["--split", "val"], "--split: only a prepared folder or shard"),
        (["--view", "4ch"], "--view: only a raw file"),
        (["--declare", "x.yaml"], "--declare: only a raw file"),
    ],
)
def test_options_of_another_kind_of_path_are_refused(run, options, message):
    with pytest.raises(UserError, match=message):
        call(run, "--no-figures", *options)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("model: {class_path: a.B, init_args: [1]}", "model.init_args is no mapping"),
        ("model: {class_path: 3}", "has no model.class_path"),
    ],
)
def test_a_config_that_is_none_of_a_stage_is_refused(run, config, message):
    (run / "config.yaml").write_text(config)
    with pytest.raises(UserError, match=message):
        read_run(run)
