"""One rule: the same ECG gives the same embedding, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from one_ecg import RESOLUTION_MV, ecg_mv, ecg_steps, write_npy
from raw_file_writers import (
    cardiosoft_xml,
    write_declaration,
    write_dicom_ecg,
    write_muse_xml,
    write_signal_table,
    write_wfdb_record,
)
from scipy.signal import resample_poly
from tiny_model import write_tiny_model

import ecgcmr
from ecgcmr.errors import UserError
from ecgcmr.formats.ecg_file import read_ecg
from ecgcmr.formats.memory_file import memory_file
from ecgcmr.formats.record import ECGRecord
from ecgcmr.inference.answers import Answers
from ecgcmr.inference.embed_files import embed_cohort
from ecgcmr.inference.model import Model
from ecgcmr.inference.person import Person
from ecgcmr.leads import LEADS
from ecgcmr.preparation.options import PrepareOptions
from ecgcmr.preparation.run import prepare
from ecgcmr.shards import ShardIndex, read_ecgs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder)
    return ecgcmr.load(folder)


@pytest.fixture(scope="module")
def expected(model: Model) -> np.ndarray:
    return model.embed(ecg_mv(), sampling_rate=500, unit="mV").embedding


def _cardiosoft(folder: Path) -> Path:
    path = folder / "ecg.xml"
    path.write_bytes(cardiosoft_xml(ecg_steps()[0]))
    return path


def _muse(folder: Path) -> Path:
    write_muse_xml(folder / "ecg.xml", ecg_steps()[0][[0, 1, *range(6, 12)]], step="5")
    return folder / "ecg.xml"


def _dicom(folder: Path) -> Path:
    write_dicom_ecg(folder / "ecg.dcm", ecg_steps()[0])
    return folder / "ecg.dcm"


def _wfdb(folder: Path) -> Path:
    return write_wfdb_record(folder, "ecg", ecg_mv())


def _csv(folder: Path) -> Path:
    write_signal_table(folder / "ecg.csv", ecg_mv()[::-1], header=LEADS[::-1])
    write_declaration(folder, leads=())
    return folder / "ecg.csv"


def _npy(folder: Path) -> Path:
    return write_npy(folder, ecg_mv())


WRITERS = (_cardiosoft, _muse, _dicom, _wfdb, _csv, _npy)


@pytest.mark.parametrize("write", WRITERS)
def test_files_of_every_format_give_the_same_embedding(
    model: Model, expected: np.ndarray, tmp_path: Path, write: Callable[[Path], Path]
):
    path = write(tmp_path)
    found = model.embed(path)
    np.testing.assert_allclose(found.embedding, expected, atol=1e-5)
    assert (found.file, found.recording) == (path.name, 0)
    files = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    in_memory = model.embed(memory_file(path.name, files))
    np.testing.assert_array_equal(in_memory.embedding, found.embedding)


def test_a_file_in_memory_reaches_for_no_disk(tmp_path: Path):
    path = memory_file("ecg.hea", {"ecg.hea": b"x"})
    with pytest.raises(TypeError, match="lies in memory alone"):
        open(path)  # noqa: PTH123, SIM115
    for name in ("../ecg.xml", "a/b", "", "a\\b"):
        with pytest.raises(UserError, match="a name alone"):
            memory_file(name, {})
    with pytest.raises(UserError, match=r"ecg.xml: no such file"):
        read_ecg(memory_file("ecg.xml", {}))


def test_arrays_in_other_units_and_orders_give_the_same_embedding(model: Model, expected: np.ndarray):
    signal = ecg_mv()
    ways = [
        model.embed(1000 * signal, sampling_rate=500, unit="uV"),
        model.embed(signal / 1000, sampling_rate=500.0, unit="V"),
        model.embed(ecg_steps()[0], sampling_rate=500, unit=f"{RESOLUTION_MV} mV"),
        model.embed(signal[::-1], sampling_rate=500, unit="mV", leads=LEADS[::-1]),
        model.embed(signal[[0, 1, *range(6, 12)]], sampling_rate=500, unit="mV", leads=["I", "II", *LEADS[6:]]),
        model.embed(ECGRecord(signal, LEADS, 500.0)),
    ]
    for way in ways:
        np.testing.assert_allclose(way.embedding, expected, atol=1e-5)


def test_another_rate_gives_nearly_the_same_embedding(model: Model, expected: np.ndarray):
    found = model.embed(resample_poly(ecg_mv(), 2, 1, axis=1), sampling_rate=1000, unit="mV").embedding
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.999


def test_a_cohort_gives_the_same_embedding_as_its_raw_files(model: Model, tmp_path: Path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for row, steps in enumerate(ecg_steps()):
        (raw / f"{row + 1:07d}_20205_2_0.xml").write_bytes(cardiosoft_xml(steps))
    (tmp_path / "key").write_bytes(bytes(range(32)))
    prepare(PrepareOptions(tmp_path / "root", ecg=raw, key_file=tmp_path / "key", workers=1))
    index = ShardIndex.load(tmp_path / "root")
    rows = index.positions(None, ("ecg",))
    by_shards = model.embed_signals(read_ecgs(index, rows))
    by_files = np.stack([one.embedding for one in model.embed(sorted(raw.iterdir()))])
    order = [int(np.abs(by_files - one).max(axis=1).argmin()) for one in by_shards]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(by_shards, by_files[order], atol=1e-5)

    import pandas as pd

    out = tmp_path / "embeddings.parquet"
    embed_cohort(Answers(model), index, out, overwrite=False, advance=lambda count: None)
    table = pd.read_parquet(out)
    assert list(table) == ["file", "recording", "embedding", "quality", "in_distribution", "subject", "split"]
    np.testing.assert_allclose(np.stack(table.embedding), by_shards, atol=1e-5)
    assert list(table.subject) == list(index.subjects(rows))
    assert set(table.split) <= {"train", "val", "test"}
    assert table.quality.between(0.3, 1).all()


def test_a_list_keeps_its_order_and_says_what_failed(model: Model, tmp_path: Path):
    good = _npy(tmp_path)
    (tmp_path / "photo.xml").write_bytes(b"\xff\xd8\xff\xe0 JFIF")
    found = model.predict([good, tmp_path / "photo.xml", tmp_path / "none.xml", ECGRecord(ecg_mv(1), LEADS, 500.0)])
    assert [one.file for one in found] == ["ecg.npy", "photo.xml", "none.xml", ""]
    assert found[1].refused.endswith("is a picture; export the recording itself")
    assert not found[1].phenotypes
    assert "no such file" in found[2].refused
    assert found[0].refused is None
    assert [one.name for one in found[0].phenotypes] == ["lv_edv"]
    frame = found.to_frame()
    assert list(frame.file) == ["ecg.npy", "photo.xml", "none.xml", ""]
    assert {"lv_edv", "lv_edv_low"} <= set(frame)
    with pytest.raises(UserError, match="is a picture"):
        model.predict(tmp_path / "photo.xml")
    block = np.stack([ecg_mv(0), ecg_mv(1)])
    several = model.embed(block, sampling_rate=500, unit="mV")
    assert len(several) == 2
    assert len(several.to_frame()) == 2


def test_what_is_missing_of_an_array_is_asked_for(model: Model):
    with pytest.raises(UserError, match="needs sampling_rate"):
        model.embed(ecg_mv())
    with pytest.raises(UserError, match="8 rows for 0 leads"):
        model.embed(ecg_mv()[:8], sampling_rate=500, unit="mV")
    with pytest.raises(UserError, match="a record says it itself"):
        model.embed(ECGRecord(ecg_mv(), LEADS, 500.0), unit="mV")
    with pytest.raises(UserError, match="2 for 1 recordings"):
        model.predict(ECGRecord(ecg_mv(), LEADS, 500.0), person=[Person(), Person()])


def test_an_interval_is_that_of_the_sex_and_never_empty(model: Model):
    record = ECGRecord(ecg_mv(), LEADS, 500.0)
    narrow, wide = (model.predict(record, level=level).phenotypes[0] for level in (0.5, 0.95))
    assert (narrow.level, wide.level) == (0.5, 0.95)
    assert wide.high - wide.low > narrow.high - narrow.low > 0
    assert model.predict(record, person=Person("female")).sex == "female"
    with pytest.raises(UserError, match="level 1"):
        model.predict(record, level=1.0)


def test_a_recording_that_the_recipe_refuses_has_a_reason(model: Model):
    found = model.predict(ECGRecord(ecg_mv()[:, :4000], LEADS, 500.0))
    assert "lasts 8.00 s" in found.refused
    assert found.to_dict()["phenotypes"] == []
    assert not found.in_distribution
    embedded = model.embed(ECGRecord(ecg_mv()[:, :4000], LEADS, 500.0))
    assert embedded.embedding is None
    assert "lasts 8.00 s" in embedded.refused
