"""Labels that a teacher gives training rows: whose they are, what stays true, and which tables are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from labelled_cohort import SPLITS, write_cohort
from tiny_configs import CMR_ENCODER, ENCODER, write_config

from data_modules import LabelledDataModule
from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.evaluation.prediction_table import write_prediction_table
from ecgcmr.files import sha256_of
from ecgcmr.provenance.run_note import read_note
from ecgcmr.shards import ShardIndex, read_labels
from ecgcmr.training.run_settings import settings_of_data

NAMES = ["lv_edv", "lv_ef"]
MISSING = {"lv_edv": [0, 1], "lv_ef": [0, 3]}
"""Row 0 of training has neither target."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "cohort", missing=MISSING)


def said(root: Path, **columns: Any) -> pd.DataFrame:
    """Return what a teacher says of every row: 1000 + its position, in the second target 2000 + it."""
    index = ShardIndex.load(root)
    subjects, splits = index.subjects(), index.splits()
    parts = [
        pd.DataFrame(
            {
                "subject": subjects, "recording": 0, "target": name, "truth": np.nan, "split": splits,
                "prediction": 1000.0 * (1 + k) + np.arange(len(index)), "seed": 0, "labels": 5, "method": "teacher",
                "kind": "regression", **columns,
            }
        )
        for k, name in enumerate(NAMES)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def taught(root: Path, table: pd.DataFrame | None = None, **options: Any) -> LabelledDataModule:
    path = root.parent / "teacher.parquet"
    write_prediction_table(path, said(root) if table is None else table)
    data = LabelledDataModule(root, NAMES, batch_size=4, samples=100, pseudo_labels=path, **options)
    data.setup("fit")
    return data


def test_rows_that_are_not_chosen_have_the_teachers_labels_and_the_chosen_their_own(root: Path) -> None:
    plain = LabelledDataModule(root, NAMES, batch_size=4, samples=100, train_labels=5)
    plain.setup("fit")
    chosen, data = plain.rows("train"), taught(root, train_labels=5)
    true = read_labels(ShardIndex.load(root), NAMES, np.arange(len(SPLITS)))
    expected = np.array([[1000.0, 2000.0]]) + np.arange(len(SPLITS))[:, None]
    expected[chosen] = np.where(np.isnan(true[chosen]), expected[chosen], true[chosen])
    expected[20:] = true[20:]  # validation and test
    np.testing.assert_allclose(data.label_values(), expected, rtol=1e-6)
    assert list(data.rows("train")) == list(range(20))
    for row in data.train_dataloader():
        batch = data.on_after_batch_transfer(data.on_before_batch_transfer(row, 0), 0)
        np.testing.assert_allclose(batch["labels"], expected[batch["row"]], rtol=1e-6)


def test_the_scale_is_that_of_true_labels(root: Path) -> None:
    plain = LabelledDataModule(root, NAMES, batch_size=4, samples=100, train_labels=5)
    plain.setup("fit")
    for one, two in zip(
        plain.label_statistics(NAMES), taught(root, train_labels=5).label_statistics(NAMES), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_with_all_labels_only_what_lacks_is_taught(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("data_modules.labelled.rank_zero_info", lines.append)
    data = taught(root)
    true = read_labels(ShardIndex.load(root), NAMES, np.arange(20))
    values = data.label_values()
    assert values is not None
    lacking = np.isnan(true)
    assert int(lacking.sum()) == 4
    np.testing.assert_array_equal(values[:20][~lacking], true[~lacking])
    assert values[0].tolist() == [1000, 2000]
    assert lines == ["pseudo-labels: teacher.parquet stands for labels of 3 training rows, 19 have labels of their own"]


def test_a_target_that_the_teacher_does_not_know_is_noted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("data_modules.pseudo_labels.rank_zero_info", lines.append)
    table = said(root)
    values = taught(root, table[table["target"] == "lv_ef"], train_labels=5).label_values()
    assert values is not None
    assert np.isnan(values[:20, 0]).sum() >= 15
    assert np.isfinite(values[:20, 1]).all()
    assert lines == ["note: teacher.parquet has no prediction of lv_edv; true labels alone teach them"]


def test_a_teacher_that_had_more_labels_is_noted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("data_modules.pseudo_labels.rank_zero_info", lines.append)
    taught(root, train_labels=4)
    assert lines == ["note: the teacher of teacher.parquet had 5 labelled rows, this fit has 4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[table["split"] != "train"], "predicts none of the targets for the train split"),
        (lambda table: table.assign(target=table["target"] + "x"), "predicts none of the targets"),
        (lambda table: table.assign(subject=[f"{k + 99:032x}" for k in range(len(table))]), "is of another cohort"),
        (lambda table: table.assign(unit="L"), "gives lv_edv in L, the cohort has mL"),
        (lambda table: table.assign(kind="classification", truth=1.0, prediction=0.5), "only numbers can be taught"),
        (lambda table: pd.concat([table, table.assign(seed=1)]), "is of several models"),
    ],
    ids=["no training row", "other targets", "another cohort", "another unit", "probabilities", "two models"],
)
def test_a_table_that_cannot_teach_is_refused(
    root: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        taught(root, change(said(root)))


def test_a_table_of_labelled_rows_alone_teaches_nothing_and_is_refused(root: Path) -> None:
    plain = LabelledDataModule(root, NAMES, samples=100, train_labels=5)
    plain.setup("fit")
    table, subjects = said(root), ShardIndex.load(root).subjects()[plain.rows("train")]
    true = read_labels(ShardIndex.load(root), NAMES, plain.rows("train"))
    if np.isnan(true).any():
        subjects = subjects[np.isfinite(true).all(axis=1)]
    with pytest.raises(UserError, match="predicts no training row that lacks a label here; .*predict_split all"):
        taught(root, table[table["subject"].isin(subjects)], train_labels=5)


def test_recordings_that_are_not_here_are_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr("data_modules.pseudo_labels.rank_zero_info", lines.append)
    table = said(root)
    taught(root, pd.concat([table, table.head(3).assign(subject=[f"{k + 99:032x}" for k in range(3)], split="train")]))
    assert lines == ["note: 3 recordings that teacher.parquet predicts are no training rows here"]


def test_pseudo_labels_are_for_a_fit_alone(root: Path) -> None:
    data = LabelledDataModule(root, NAMES, samples=100, train_labels=5, pseudo_labels=root / "gone.parquet")
    true = read_labels(ShardIndex.load(root), NAMES, np.arange(len(SPLITS)))
    for stage in ("validate", "test", "predict"):
        data.setup(stage)
        np.testing.assert_array_equal(data.label_values(), true)
    assert len(data.rows("train")) == data.labelled_size == 5


def test_labelled_rows_are_counted_apart(root: Path) -> None:
    for options, labelled in (({"train_labels": 5}, 5), ({}, 19)):
        data = taught(root, **options)
        assert (data.train_size, data.labelled_size) == (20, labelled)
        assert settings_of_data(data)["labelled rows"] == labelled
    plain = LabelledDataModule(root, NAMES, samples=100, train_labels=5)
    plain.setup("fit")
    assert "labelled rows" not in settings_of_data(plain)


def test_a_missing_table_is_refused(root: Path) -> None:
    data = LabelledDataModule(root, NAMES, samples=100, pseudo_labels=root / "gone.parquet")
    with pytest.raises(UserError, match=r"gone\.parquet: no such file"):
        data.setup("fit")


@pytest.mark.parametrize(
    "options", [{"train_fraction": 0.5}, {"labels": None, "diseases": ["cad"]}, {"root": ["one", "two"]}]
)
def test_numbers_of_one_cohort_alone_are_taught(root: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="pseudo_labels"):
        LabelledDataModule(**{"root": root, "labels": NAMES, **options}, samples=100, pseudo_labels="teacher.parquet")


def test_yes_and_no_are_not_taught(root: Path) -> None:
    path = root.parent / "teacher.parquet"
    write_prediction_table(path, said(root))
    data = LabelledDataModule(root, ["af_ever"], samples=100, pseudo_labels=path)
    with pytest.raises(UserError, match="af_ever is yes or no"):
        data.setup("fit")


@pytest.mark.long
def test_a_reader_of_images_teaches_one_of_ecgs(
    cohort_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By commands: the teacher is fitted on images, predicts the training split, and the pupil learns from that."""
    few = {"labels": NAMES, "train_labels": 12}
    images = write_config(
        tmp_path / "teacher.yaml", "PhenotypeRegression", {"encoder": CMR_ENCODER}, "LabelledDataModule", cohort_root,
        input="cmr", **few,
    )  # fmt: skip
    table = tmp_path / "said.parquet"
    assert main(["fit", "-c", str(images)]) == 0
    words = ["predict", "-c", str(images), "--ckpt_path", "best", "--data.predict_split", "all", "--out", str(table)]
    assert main(words) == 0
    pupil = write_config(
        tmp_path / "pupil.yaml", "PhenotypeRegression", {"encoder": ENCODER}, "LabelledDataModule", cohort_root, **few
    )
    lines: list[str] = []
    monkeypatch.setattr("data_modules.labelled.rank_zero_info", lines.append)
    assert main(["fit", "-c", str(pupil), "--data.pseudo_labels", str(table)]) == 0
    rows = len(ShardIndex.load(cohort_root).positions("train", ("ecg", "cmr")))
    said_of = f"pseudo-labels: said.parquet stands for labels of {rows - 12} training rows, 12 have labels of their own"
    assert lines == [said_of]
    assert read_note(pupil.with_suffix(""))["inputs"]["data.pseudo_labels"] == sha256_of(table)
    folder = pupil.with_suffix("")
    assert main(["predict", "-c", str(folder / "config.yaml"), "--ckpt_path", "best"]) == 0
    predicted = pd.read_parquet(folder / "predictions.parquet")
    assert set(predicted["labels"]) == {12}, "true labels count, not those of a teacher"
    assert main(["reproduce", str(folder), "--out", str(tmp_path / "again")]) == 0
    # A table of other content is another run.
    frame = pd.read_parquet(table)
    write_prediction_table(table, frame.assign(prediction=frame["prediction"] + 1))
    words = ["fit", "-c", str(pupil), "--data.pseudo_labels", str(table), "--ckpt_path", "last"]
    assert main([*words, "--trainer.max_epochs", "3"]) == 2
    assert main(["reproduce", str(folder), "--out", str(tmp_path / "third")]) == 2
