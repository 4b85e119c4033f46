from __future__ import annotations

import argparse
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from inspected_cohort import FIRST_PEAK, LABELS, NAMES, PEAK_EVERY, PEAKS, beats_signal, layout, rows, write_cohort
from PIL import Image

from ecgcmr.errors import UserError
from ecgcmr.inspection import command
from ecgcmr.inspection.prepared import choose_row, open_prepared, read_content, read_row, stored_bytes
from ecgcmr.inspection.summary import distribution, flag_names, group_labels, summarise_leads
from ecgcmr.inspection.text import number, percent, size
from ecgcmr.shards import write_index, write_shard

HASH = "{:032x}"
WITHDRAWN = HASH.format(7 * 5)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve rows, of which row 5 is withdrawn and row 9 a duplicate."""

    def select(index):
        return {"train_10pct": {"about": "a tenth of the training subjects", "rows": [0, 3]}}

    root = tmp_path_factory.mktemp("inspected") / "cohort"
    return write_cohort(root, withdrawn=[WITHDRAWN], duplicates=[9], select=select)


def call(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def table_row(text, name):
    """Cells of the line of a printed table that begins with ``name``; cells are two or more spaces apart."""
    line = next(line for line in text.splitlines() if re.match(rf"{re.escape(name)}\s", line))
    return re.split(r"\s{2,}", line.strip())


# ----------------------------------------------------------------------------------------------------------- numbers


def test_a_distribution_counts_what_is_known():
    of = distribution(np.array([1, np.nan, 2, 3, 4, np.nan, 10], dtype=np.float32))
    assert (of.rows, of.known, of.positives) == (7, 5, None)
    assert of.missing_rate == pytest.approx(2 / 7)
    assert (of.mean, of.minimum, of.q1, of.median, of.q3, of.maximum) == (4.0, 1.0, 2.0, 3.0, 4.0, 10.0)
    assert of.sd == pytest.approx(np.std([1, 2, 3, 4, 10]))


def test_a_distribution_of_nothing_is_unknown():
    of = distribution(np.full(3, np.nan))
    assert of.known == 0
    assert of.missing_rate == 1.0
    assert np.isnan([of.mean, of.sd, of.minimum, of.median, of.maximum]).all()


def test_positives_are_counted():
    assert distribution(np.array([1, 0, 1, np.nan]), binary=True).positives == 2


def test_groups_keep_their_order_and_tell_what_is_missing():
    values = np.zeros((4, len(LABELS)), dtype=np.float32)
    values[:3, 0] = np.nan
    values[:1, 1] = np.nan
    groups = group_labels(LABELS, values)
    assert [(group.name, group.kind) for group in groups][:2] == [("LV", "phenotype"), ("WT", "phenotype")]
    assert groups[0].missing == (0.25, 0.5, 0.75)
    assert groups[0].complete == 0.25
    assert groups[1].columns == tuple(range(2, 14))


def test_a_derived_lead_is_no_defect():
    flags = np.zeros((4, 12), dtype=np.uint8)
    flags[0, 3] = 2  # derived
    flags[1, 3] = 16  # noisy
    summary = summarise_leads(flags, np.full((4, 12), np.nan, dtype=np.float32))
    assert summary.clean == 0.75
    assert summary.rates[3].tolist() == [0, 0.25, 0, 0, 0.25]
    assert np.isnan(summary.index).all()
    assert flag_names(0b10010) == "derived, noisy"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (percent(0.0), "0.0 %"),
        (percent(1.0), "100.0 %"),
        (percent(0.0001), "< 0.1 %"),
        (percent(0.99999), "> 99.9 %"),
        (percent(float("nan")), "-"),
        (number(12345.6), "12,346"),
        (number(0.001234), "0.001234"),
        (number(float("nan")), "-"),
        (number(-0.0), "0"),
        (size(999), "999 bytes"),
        (size(1_500_000), "1.5 MB"),
    ],
)
def test_numbers_are_written_for_people(text, expected):
    assert text == expected


# -------------------------------------------------------------------------------------------------------------- rows


def test_rows_that_are_left_out_are_not_shown(root):
    prepared = open_prepared(root)
    assert prepared.position.tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 10, 11]
    assert (prepared.stored, prepared.left_out) == (12, 2)
    for position in (5, 9):
        with pytest.raises(UserError, match="withdrawn"):
            choose_row(prepared, position)
    with pytest.raises(UserError, match="rows 0 to 11"):
        choose_row(prepared, 12)


def test_a_shard_of_a_cohort_leaves_out_the_same_rows(root, tmp_path):
    shard = open_prepared(root / "shards" / "shard-00000.h5")
    assert shard.position.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert open_prepared(root / "shards" / "shard-00001.h5").position.tolist() == [0, 2, 3]
    copy = shutil.copy(root / "shards" / "shard-00001.h5", tmp_path / "lone.h5")
    lone = open_prepared(tmp_path / "lone.h5")
    assert lone.position.tolist() == [0, 1, 2, 3]
    assert lone.split.tolist() == ["val", "val", "test", "test"]
    assert lone.subject[0] == HASH.format(56)
    assert str(copy).endswith("lone.h5")


def test_content_comes_in_the_order_of_the_rows(root):
    prepared = open_prepared(root).of_split("train")
    content = read_content(prepared)
    column = NAMES.index("heart_rate")
    assert content.labels[:, column].tolist() == [60, 61, 62, 63, 64, 66, 67]
    assert content.beats.tolist() == [PEAKS, -1, *[PEAKS] * 5]
    assert content.lead_flags[2, 6] == 1
    assert content.lead_quality[0, 0] == pytest.approx(0.4)


def test_the_first_row_with_all_records_is_shown(root):
    prepared = open_prepared(root)
    row = read_row(prepared, choose_row(prepared, None))
    assert row.position == 0
    assert row.subject == HASH.format(0)[:8]
    assert row.ecg.shape == (12, 5000)
    assert row.ecg[3] == pytest.approx(beats_signal()[3], abs=1e-3)
    assert row.r_peaks.tolist() == [FIRST_PEAK + PEAK_EVERY * k for k in range(PEAKS)]
    assert row.waves.shape == (PEAKS, 8)
    lacking = read_row(prepared, choose_row(prepared, 1))
    assert lacking.ecg is lacking.r_peaks is lacking.lead_flags is None
    assert lacking.cmr.shape == (3, 24, 24)


def test_stored_bytes_are_those_on_the_disk(root):
    total, by_dataset = stored_bytes(open_prepared(root))
    assert total == sum(path.stat().st_size for path in (root / "shards").glob("*.h5"))
    assert by_dataset["ecg"] == 11 * 12 * 5000 * 2  # row 1 has none, and an absent record takes no room
    assert sum(by_dataset.values()) < total


# ----------------------------------------------------------------------------------------------------------- command


@pytest.mark.slow
def test_a_cohort_is_described(root, tmp_path, capsys):
    assert call(root, "--out", tmp_path / "look") == 0
    text = capsys.readouterr().out
    assert table_row(text, "train") == ["train", "7", "7", "6", "6", "5"]
    assert table_row(text, "all") == ["all", "10", "10", "9", "9", "8"]
    assert "rows left out, of withdrawn subjects or duplicates: 2" in text
    assert table_row(text, "train_10pct") == ["train_10pct", "2", "a tenth of the training subjects"]
    assert table_row(text, "lv_edv")[:4] == ["lv_edv", "mL", "7", "30.0 %"]
    assert table_row(text, "af_ever")[-1] == "3 (30.0 %)"
    assert table_row(text, "V6")[5] == "66.7 %"
    assert "recordings without a missing, flat, clipped or noisy lead: 22.2 %" in text
    assert "recordings with beats: 9 of 9 (100.0 %)" in text
    assert "name: none" in text  # the recipe
    assert "wt_aha_1" not in text
    assert sorted(path.name for path in (tmp_path / "look").glob("[!.]*")) == [
        "ecg.png",
        "frames.png",
        "labels.png",
        "quality.png",
    ]
    assert "ecg.png, frames.png, labels.png, quality.png" in text
    with Image.open(tmp_path / "look" / "ecg.png") as image:
        assert image.size == (2970, 2100)


def test_masks_are_counted_and_the_row_shown_has_one(tmp_path, capsys):
    plain = layout()
    masked = replace(plain, cmr=replace(plain.cmr, mask=True))
    given = rows(0, ["train"] * 8)
    given.cmr_mask = np.full(given.cmr.shape, 255, dtype=np.uint8)
    given.cmr_mask[[2, 5], 0] = 1  # of the first frame alone
    root = tmp_path / "cohort"
    write_index(root, masked, [write_shard(root / "shards" / "s.h5", masked, given)])
    for path in (root, root / "shards" / "s.h5"):
        assert call(path, "--no-figures") == 0
        text = capsys.readouterr().out
        assert "uint8; with masks" in text
        assert "rows whose frames, or some of them, are segmented: 2 of 7 with CMR" in text
        assert choose_row(open_prepared(path), None) == 2
    prepared = open_prepared(root)
    assert (read_row(prepared, 2).cmr_mask[:, 0, 0] == [1, 255, 255]).all()
    assert read_row(prepared, 0).cmr_mask is None


def test_every_label_is_listed_if_asked_for(root, capsys):
    assert call(root, "--all", "--no-figures") == 0
    assert table_row(capsys.readouterr().out, "wt_aha_12")[:3] == ["wt_aha_12", "mm", "10"]


@pytest.mark.slow
def test_one_split_and_one_row(root, tmp_path, capsys):
    assert call(root, "--split", "test", "--row", "11", "--out", tmp_path / "look") == 0
    text = capsys.readouterr().out
    assert table_row(text, "test")[:2] == ["test", "2"]
    assert not re.search(r"^train ", text, re.MULTILINE)
    assert f"row 11 (subject {HASH.format(77)[:8]}, test): labels" in text
    listed = text[text.index("row 11") :]
    assert table_row(listed, "heart_rate")[1] == "71"
    with pytest.raises(UserError, match="of another split"):
        call(root, "--split", "test", "--row", "0")


@pytest.mark.slow
def test_a_shard_is_described_without_figures(root, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(root / "shards" / "shard-00001.h5", "--no-figures") == 0
    text = capsys.readouterr().out
    assert text.startswith("shard shard-00001.h5")
    assert "selections" not in text
    assert list(tmp_path.iterdir()) == []
    assert call(root / "shards" / "shard-00001.h5") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["inspect-shard-00001"]


def test_no_whole_hash_is_printed(root, capsys):
    assert call(root, "--row", "3", "--no-figures") == 0
    assert not re.search(r"\b[0-9a-f]{13,}\b", capsys.readouterr().out)


def test_a_piped_table_is_plain(root, capsys):
    call(root, "--no-figures")
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) > 80  # nothing was cut at a terminal's width


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "dev"], "choose one of train, val, test"),
        (["--row", "99"], "rows 0 to 11"),
    ],
)
def test_mistakes_are_told(root, words, message):
    with pytest.raises(UserError, match=message):
        call(root, *words, "--no-figures")


def test_missing_and_damaged_paths_are_told(root, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        call(tmp_path / "nowhere")
    with pytest.raises(UserError, match="neither index.json nor sax images"):
        call(tmp_path)
    damaged = tmp_path / "shard-00000.h5"
    damaged.write_bytes((root / "shards" / "shard-00000.h5").read_bytes()[:5000])
    with pytest.raises(UserError, match="truncated or damaged"):
        call(damaged, "--no-figures")


def test_an_empty_split_is_told(tmp_path, root):
    shard = root / "shards" / "shard-00000.h5"
    with pytest.raises(UserError, match="no row in this split"):
        call(shard, "--split", "val")


def test_a_cohort_of_withdrawn_subjects_shows_nothing(tmp_path):
    root = write_cohort(tmp_path / "gone", duplicates=range(12))
    with pytest.raises(UserError, match="nothing to show"):
        call(root, "--no-figures")
