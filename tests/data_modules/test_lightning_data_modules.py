"""The data modules under a Trainer: epochs differ, evaluation counts once, workers and ranks agree with one process."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from tiny_cohort import tiny_layout, tiny_rows
from witness import Witness, trainer

from data_modules import ECGDataModule, LabelledDataModule, PairedDataModule
from data_modules.base import ShardDataModule
from data_modules.batch import to_float
from ecgcmr.errors import UserError
from ecgcmr.shards import ShardIndex, read_labels, write_index, write_shard

WORKERS = [
    pytest.param(0, None, id="in-process"),
    pytest.param(2, "fork", id="fork"),
    pytest.param(1, "spawn", id="spawn", marks=pytest.mark.multiprocess),
]


@pytest.mark.long
@pytest.mark.parametrize(("num_workers", "start_method"), WORKERS)
def test_fit_sees_new_orders_and_crops_each_epoch(cohort: ShardIndex, num_workers: int, start_method: str) -> None:
    module = Witness()
    data = PairedDataModule(
        cohort.root, batch_size=8, num_workers=num_workers, start_method=start_method, samples=25, labels=["lv_edv"]
    )
    trainer(num_sanity_val_steps=1).fit(module, datamodule=data)
    train = set(cohort.positions("train").tolist())
    epochs = [module.of("train", "row", epoch) for epoch in (0, 1)]
    for rows in epochs:
        assert len(set(rows)) == len(rows) == len(train) // 8 * 8
        assert set(rows) <= train
    assert epochs[0] != epochs[1]
    starts = [dict(zip(module.of("train", "row", e), module.of("train", "start", e), strict=True)) for e in (0, 1)]
    common = starts[0].keys() & starts[1].keys()
    assert sum(starts[0][row] != starts[1][row] for row in common) > len(common) / 2
    assert 0 <= min(starts[0].values()) < max(starts[0].values()) <= 15
    # every modality belongs to the row it is given with
    np.testing.assert_array_equal(module.of("train", "lead_i"), module.of("train", "row"))
    np.testing.assert_allclose(module.of("train", "cmr"), module.of("train", "row"), atol=1e-3)
    expected = [[100 + row] if row % 3 else [np.nan] for row in module.of("train", "row")]
    np.testing.assert_array_equal(module.of("train", "labels"), expected)
    # validation: each row once per epoch, first sample, nothing augmented; one more batch from the sanity check
    rows = [row for row, valid in zip(module.of("val", "row", 1), module.of("val", "valid", 1), strict=True) if valid]
    assert rows == cohort.positions("val").tolist()
    assert set(module.of("val", "start")) == {0.0}
    assert module.seen[-1]["keys"] == ["cmr", "ecg", "labels", "row", "valid"]


@pytest.mark.slow
def test_workers_do_not_change_what_is_seen(cohort: ShardIndex) -> None:
    def fit(num_workers: int, **options: Any) -> list[dict[str, Any]]:
        module = Witness()
        data = ECGDataModule(cohort.root, batch_size=5, num_workers=num_workers, samples=20, **options)
        trainer().fit(module, datamodule=data)
        return module.seen

    assert fit(0) == fit(2)
    assert fit(0) == fit(0)
    assert fit(0) != fit(0, seed=1)
    in_order = fit(0, shuffle="none")
    assert [row for record in in_order[:2] for row in record["row"]] == cohort.positions("train", ["ecg"])[:10].tolist()


DRAWN = {"weight": "lv_edv", "epoch_rows": 9}


@pytest.mark.parametrize(
    "options", [{"shuffle": "shards", "window": 1}, {"balance": "af_ever"}, DRAWN, {"epoch_rows": 10}]
)
def test_other_orders_under_a_trainer(cohort: ShardIndex, options: dict[str, Any]) -> None:
    module, data = Witness(), ECGDataModule(cohort.root, batch_size=3, samples=20, labels=["af_ever"], **options)
    trainer().fit(module, datamodule=data)
    for epoch in (0, 1):
        rows = module.of("train", "row", epoch)
        assert len(set(rows)) == len(rows) == data.train_size // 3 * 3
        if "epoch_rows" in options:
            assert data.train_size == options["epoch_rows"]
        if "weight" in options:
            assert not np.isnan(read_labels(cohort, ["lv_edv"], np.array(rows))).any()
        if "window" in options:  # shard by shard, but for what the tail takes away
            assert (np.diff(np.array(rows) // 20) != 0).sum() == 2
    if "epoch_rows" in options:
        assert set(module.of("train", "row", 0)) != set(module.of("train", "row", 1))
    if "balance" in options:
        labels = read_labels(cohort, ["af_ever"], np.array(data._train_sampler(0, 1).order(0)))
        assert labels.mean() == 0.5


def test_balance_needs_a_binary_label(cohort: ShardIndex) -> None:
    with pytest.raises(UserError, match="balance 'lv_edv': is not a label of 0 and 1"):
        ECGDataModule(cohort.root, samples=20, balance="lv_edv").train_dataloader()
    with pytest.raises(UserError, match="did you mean af_ever"):
        ECGDataModule(cohort.root, samples=20, balance="af_evr").train_dataloader()
    with pytest.raises(UserError, match="window 0"):
        ECGDataModule(cohort.root, samples=20, window=0)


@pytest.mark.parametrize(
    ("batch_size", "after", "options"),
    [(4, 4, {}), (8, 2, {}), (3, 5, {}), (2, 7, {}), (2, 2, DRAWN), (2, 4, DRAWN), (4, 2, {"epoch_rows": 14})],
)
def test_resuming_within_an_epoch(
    cohort: ShardIndex, tmp_path: Path, batch_size: int, after: int, options: dict[str, Any]
) -> None:
    """Nobody twice, nobody missing but for the tail, validation at the epoch's end; even with another batch size."""

    class Saver(Callback):
        def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
            if trainer.global_step == 5:
                trainer.save_checkpoint(tmp_path / "mid.ckpt")

    def fit(size: int, path: Path | None = None) -> Witness:
        module = Witness()
        data = ECGDataModule(cohort.root, batch_size=size, samples=20, **options)
        trainer(max_epochs=3, callbacks=[Saver()] if path is None else []).fit(module, datamodule=data, ckpt_path=path)
        return module

    whole, rest = fit(batch_size), fit(after, tmp_path / "mid.ckpt")
    n = options.get("epoch_rows", len(cohort.positions("train", ["ecg"])))
    epoch, done = divmod(5, n // batch_size)
    before = whole.of("train", "row", epoch)[: done * batch_size]
    resumed = rest.of("train", "row", epoch)
    assert set(before).isdisjoint(resumed)
    assert len(set(resumed)) == len(resumed) == (n - len(before)) // after * after
    order = ECGDataModule(cohort.root, batch_size=1, samples=20, **options)._train_sampler(0, 1).order(epoch).tolist()
    assert before + resumed == order[: len(before) + len(resumed)]
    for later in range(epoch + 1, 3):
        assert len(rest.of("train", "row", later)) == n // after * after
        if after == batch_size:
            assert rest.of("train", "row", later) == whole.of("train", "row", later)
    for validated in range(epoch, 3):
        assert rest.of("val", "row", validated) == cohort.positions("val", ["ecg"]).tolist()


def test_weights_choose_rows_and_must_not_be_negative(tmp_path: Path) -> None:
    rows = tiny_rows(0, ["train"] * 20 + ["val"])
    weights = rows.labels[:, 1]
    weights[:] = np.nan
    weights[[1, 2, 3, 4]] = [1.0, 0.0, 1000.0, 1e-3]
    index = write_index(tmp_path, tiny_layout(), [write_shard(tmp_path / "shards" / "s.h5", tiny_layout(), rows)])
    data = ECGDataModule(index.root, samples=20, batch_size=1, weight="lv_esv", epoch_rows=1)
    sampler = data._train_sampler(0, 1)
    drawn = np.concatenate([sampler.order(epoch) for epoch in range(200)])
    assert data.rows("train").tolist() == [1, 3, 4]
    assert np.bincount(drawn)[3] > 190
    weights[5] = -1.0
    index = write_index(tmp_path, tiny_layout(), [write_shard(tmp_path / "shards" / "s.h5", tiny_layout(), rows)])
    with pytest.raises(UserError, match="weight 'lv_esv': is negative or infinite in 1 training rows"):
        ECGDataModule(index.root, samples=20, weight="lv_esv", epoch_rows=1).setup("fit")


def test_overfit_batches_repeats_the_same_batches(cohort: ShardIndex) -> None:
    module = Witness()
    trainer(overfit_batches=2, max_epochs=3).fit(module, datamodule=ECGDataModule(cohort.root, 4, samples=20))
    epochs = [module.of("train", "row", epoch) for epoch in range(3)]
    assert len(epochs[0]) == 8
    assert epochs[0] == epochs[1] == epochs[2]


@pytest.mark.slow
def test_validate_test_and_predict(cohort: ShardIndex) -> None:
    module, data = Witness(), ECGDataModule(cohort.root, batch_size=4, samples=40, predict_split="train")
    trainer().validate(module, datamodule=data, verbose=False)
    trainer().test(module, datamodule=data, verbose=False)
    assert module.of("val", "row") == cohort.positions("val", ["ecg"]).tolist()
    assert module.of("test", "row") == cohort.positions("test", ["ecg"]).tolist()
    predicted = trainer().predict(module, datamodule=data)
    assert predicted is not None
    assert torch.cat(predicted).tolist() == cohort.positions("train", ["ecg"]).tolist()
    data = ECGDataModule(cohort.root, batch_size=4, samples=40, num_workers=1)
    predicted = trainer().predict(module, datamodule=data)
    assert predicted is not None
    assert torch.cat(predicted).tolist() == cohort.positions("test", ["ecg"]).tolist()


def _stamp(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    assert x.dtype == torch.float32
    x = x.clone()
    x[:, 0, 0] = torch.rand((), generator=generator)
    return x


def test_augmentation_is_keyed_by_epoch_batch_and_modality_and_only_in_training(cohort: ShardIndex) -> None:
    def fit(**options: Any) -> Witness:
        module = Witness()
        data = PairedDataModule(cohort.root, batch_size=8, samples=25, ecg_augmentation=_stamp, **options)
        trainer().fit(module, datamodule=data)
        return module

    torch.manual_seed(1)
    first = fit()
    torch.manual_seed(2)  # the global generator has no say
    again = fit(cmr_augmentation=lambda x, generator: x + torch.rand((), generator=generator))
    stamps = first.of("train", "lead_i")
    assert stamps == again.of("train", "lead_i")
    assert len(set(stamps)) == len([r for r in first.seen if r["stage"] == "train"]) == 6
    assert fit(seed=3).of("train", "lead_i") != stamps
    assert first.of("val", "lead_i") == first.of("val", "row")
    np.testing.assert_allclose(again.of("val", "cmr"), again.of("val", "row"), atol=1e-3)
    shift = (np.array(again.of("train", "cmr")) - again.of("train", "row")) / 255
    assert 0 < np.ptp(shift) < 1
    assert set(np.round(shift, 4)).isdisjoint(np.round(stamps, 4))


def test_labelled_rows_and_nested_choices(cohort: ShardIndex) -> None:
    def rows(**options: Any) -> list[int]:
        data = LabelledDataModule(cohort.root, ["lv_edv", "lv_esv"], batch_size=4, samples=20, **options)
        data.setup("fit")
        assert data.train_size == len(data.rows("train"))
        return data.rows("train").tolist()

    ecg = cohort.positions("train", ["ecg"])
    labelled = ecg[ecg % 3 != 0].tolist()
    assert rows() == rows(train_fraction=1.0) == labelled
    assert len(rows(train_labels=5)) == 5
    assert set(rows(train_labels=5)) < set(rows(train_fraction=0.5)) < set(labelled)
    assert rows(train_labels=5, seed=1) != rows(train_labels=5)
    data = LabelledDataModule(cohort.root, ["lv_edv"])
    assert data.rows("val").tolist() == cohort.positions("val", ["ecg"]).tolist()  # unlabelled ones stay
    module = Witness()
    few = LabelledDataModule(cohort.root, ["lv_edv", "af_ever"], batch_size=32, samples=20, train_labels=5)
    trainer(max_epochs=1).fit(module, datamodule=few)
    assert len(module.of("train", "row")) == 5  # fewer rows than a batch: one smaller batch
    assert not np.isnan(module.of("train", "labels")).any()


def test_statistics_and_input_spec(cohort: ShardIndex) -> None:
    data = PairedDataModule(cohort.root, samples=25)
    mean, std = data.label_statistics(["af_ever", "lv_edv"])
    train = cohort.positions("train", ())
    known = train[train % 3 != 0]
    positive = (known % 2 == 0).astype(float)
    np.testing.assert_allclose(mean, [positive.mean(), (100 + known).mean()], rtol=1e-6)
    np.testing.assert_allclose(std, [positive.std(), known.std()], rtol=1e-6)
    with pytest.raises(UserError, match="lv_esv"):
        data.label_statistics(["lv_esv"])
    assert data.input_spec == {
        "ecg": {"leads": 12, "sampling_rate": 500.0, "samples": 25},
        "cmr": {"frames": 3, "height": 6, "width": 5},
    }
    assert set(ECGDataModule(cohort.root).input_spec) == {"ecg"}


def test_loader_alone_gives_storage_types(cohort: ShardIndex) -> None:
    data = PairedDataModule(cohort.root, batch_size=4, samples=25)
    batch = next(iter(data.val_dataloader()))
    assert (batch["ecg"].dtype, batch["cmr"].dtype) == (torch.float16, torch.uint8)
    floats = to_float(batch)
    assert (floats["ecg"].dtype, floats["cmr"].dtype) == (torch.float32, torch.float32)
    assert 0 < floats["cmr"].max() <= 1
    assert batch["cmr"].dtype == torch.uint8  # the batch given is left alone


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: ECGDataModule(root / "nowhere", samples=20), "no such folder"),
        (lambda root: ECGDataModule(root / "shards", samples=20), "holds no index.json"),
        (lambda root: ECGDataModule(root, samples=41), "samples 41: .* only 40"),
        (lambda root: ECGDataModule(root, samples=20, labels=["lv_edw"]), "did you mean lv_edv"),
        (lambda root: LabelledDataModule(root, ["lv_esv"], samples=20), "no training row has an ECG and a value"),
        (lambda root: LabelledDataModule(root, ["lv_edv"], samples=20, train_labels=999), "holds only"),
        (lambda root: LabelledDataModule(root, [], samples=20), "at least one label"),
        (lambda root: LabelledDataModule(root, ["lv_edv"], train_labels=5, train_fraction=0.5), "give one of them"),
        (lambda root: LabelledDataModule(root, ["lv_edv"], input="mri"), "'mri': choose one of ecg"),
        (lambda root: ECGDataModule(root, samples=20, weight="lv_edw", epoch_rows=3), "did you mean lv_edv"),
        (lambda root: ECGDataModule(root, samples=20, weight="lv_esv", epoch_rows=3), "weight 'lv_esv': is 0 or miss"),
        (lambda root: ECGDataModule(root, samples=20, weight="lv_edv", epoch_rows=25), "epoch_rows 25: only 22 train"),
        (lambda root: ECGDataModule(root, samples=20, epoch_rows=99), "epoch_rows 99: only 31 training rows"),
        (lambda root: ECGDataModule(root, epoch_rows=0), "epoch_rows 0: must be at least 1"),
        (lambda root: ECGDataModule(root, weight="lv_edv"), "weight 'lv_edv': give epoch_rows too"),
        (lambda root: ECGDataModule(root, balance="af_ever", epoch_rows=4), "balance and epoch_rows: both choose"),
        (lambda root: ECGDataModule(root, balance="af_ever", weight="lv_edv"), "balance and weight: both choose"),
        (lambda root: ECGDataModule(root, shuffle="rows"), "'rows': choose one of global, shards, none"),
        (lambda root: ECGDataModule(root, predict_split="any"), "'any': choose one of train, val, test, all"),
        (lambda root: ECGDataModule(root, batch_size=0), "batch_size 0: must be at least 1"),
        (lambda root: ECGDataModule(root, seed=-1), "seed -1: must be at least 0"),
    ],
)
def test_mistakes_are_told_in_one_line(
    cohort: ShardIndex, make: Callable[[Path], ShardDataModule], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        make(cohort.root).setup("fit")
    assert "\n" not in str(error.value)


def test_empty_splits_are_told(make_cohort: Callable[..., ShardIndex]) -> None:
    only_train = make_cohort(["train"] * 5, name="a")
    with pytest.raises(UserError, match="the val split holds no row with ECG$"):
        trainer().fit(Witness(), datamodule=ECGDataModule(only_train.root, samples=20))
    only_val = make_cohort(["val"] * 5, name="b")
    with pytest.raises(UserError, match="the train split holds no row with ECG and CMR$"):
        PairedDataModule(only_val.root, samples=20).setup("fit")
    with pytest.raises(UserError, match="the test split"):
        ECGDataModule(only_val.root, samples=20).setup("predict")
    ECGDataModule(only_val.root, samples=20).setup("validate")


def test_a_shard_damaged_after_loading_is_told(cohort: ShardIndex) -> None:
    data = ECGDataModule(cohort.root, samples=20)
    data.setup("fit")
    path = cohort.root / "shards" / "shard-00001.h5"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="^shard-00001.h5: shard is truncated or damaged"):
        list(data.train_dataloader())


def fit_on_two_ranks(root: Path, folder: Path) -> None:
    """Fit in two forks of a process that has never trained; forks of one that has may wait for its threads forever."""
    data = ECGDataModule(root, batch_size=4, samples=20, augmentation=_stamp)
    trainer(strategy="ddp_fork", devices=2, use_distributed_sampler=True).fit(Witness(folder), datamodule=data)


@pytest.mark.multiprocess
@pytest.mark.long
def test_two_ranks_read_disjoint_rows(cohort: ShardIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``use_distributed_sampler`` left on, which must not divide the rows a second time."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    process = multiprocessing.get_context("spawn").Process(target=fit_on_two_ranks, args=(cohort.root, tmp_path))
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == 0
    ranks = []
    for rank in range(2):
        witness = Witness()
        witness.seen = json.loads((tmp_path / f"rank-{rank}.json").read_text())
        ranks.append(witness)
    train, val = cohort.positions("train", ["ecg"]), cohort.positions("val", ["ecg"])
    assert len(train) // 8 * 8 < len(train)  # the case with a tail
    assert len(val) % 2 == 1  # the case with padding
    orders = []
    for epoch in (0, 1):
        mine, other = (witness.of("train", "row", epoch) for witness in ranks)
        assert len(mine) == len(other) == len(train) // 8 * 4
        assert set(mine).isdisjoint(other)
        assert set(mine) | set(other) <= set(train.tolist())
        orders.append(mine)
        shapes = [[len(r["row"]) for r in w.seen if r["stage"] == "val" and r["epoch"] == epoch] for w in ranks]
        assert shapes[0] == shapes[1]
        valid = [
            row
            for witness in ranks
            for row, ok in zip(witness.of("val", "row", epoch), witness.of("val", "valid", epoch), strict=True)
            if ok
        ]
        assert sorted(valid) == val.tolist()
    assert orders[0] != orders[1]
    # ranks augment differently, and one process with the global batch sees the same rows in the same batches
    assert set(ranks[0].of("train", "lead_i")).isdisjoint(ranks[1].of("train", "lead_i"))
    one = Witness()
    trainer().fit(one, datamodule=ECGDataModule(cohort.root, batch_size=8, samples=20))
    single = [record for record in one.seen if record["stage"] == "train"]
    pairs = [[r for r in w.seen if r["stage"] == "train"] for w in ranks]
    assert [r["row"] for r in single] == [a["row"] + b["row"] for a, b in zip(*pairs, strict=True)]
    assert [r["start"] for r in single] == [a["start"] + b["start"] for a, b in zip(*pairs, strict=True)]


def test_frames_are_resized_on_request(cohort: ShardIndex) -> None:
    data = PairedDataModule(cohort.root, batch_size=4, samples=20, image_size=3)
    data.setup("validate")
    stored = next(iter(data.val_dataloader()))
    data.on_before_batch_transfer(stored, 0)
    batch = data.on_after_batch_transfer(stored, 0)
    assert batch["cmr"].shape == (4, 3, 3, 3)
    # The frames of a row are constant, so averaging leaves their value.
    torch.testing.assert_close(batch["cmr"][:, 1, 1, 1] * 255, stored["cmr"][:, 1, 1, 1].float())
    assert data.input_spec["cmr"] == {"frames": 3, "height": 3, "width": 3}
    with pytest.raises(UserError, match="image_size"):
        PairedDataModule(cohort.root, image_size=0)
