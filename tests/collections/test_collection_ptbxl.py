"""PTB-XL: six sets of labels from one table of statements, and features of PTB-XL+."""

from __future__ import annotations

import ast
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from cohort_of import listed, prepared
from ptbxl_folder import write_ptbxl, write_ptbxl_plus

from ecgcmr.cli import main
from ecgcmr.errors import UserError
from ecgcmr.preparation.collections.ptbxl import PTBXLCollection
from ecgcmr.shards import read_labels


@pytest.fixture
def folder(tmp_path):
    return write_ptbxl(tmp_path / "ptbxl")


def values_of(folder, ecg_id, **options):
    found = listed(PTBXLCollection(folder, **options))
    return found, found.of(f"{ecg_id:05d}_hr.hea")


def test_statements_are_all_six_sets(folder):
    found, first = values_of(folder, 1)
    counts = {group: len(names) for group, names in found.groups.items()}
    sets = ("superclass", "statement", "diagnostic", "subclass", "form", "rhythm")
    assert [counts[name] for name in sets] == [5, 9, 5, 5, 4, 2]
    assert found.names[:7] == ["NORM", "MI", "STTC", "CD", "HYP", "age", "sex"]
    assert {name for name, value in first.items() if value == 1} == {
        "NORM", "sex", "statement_norm", "statement_sr", "diagnostic_norm", "subclass_norm", "rhythm_sr"
    }  # fmt: skip


def test_a_statement_of_two_sets_counts_in_both_and_a_subclass_gathers_statements(folder):
    _, second = values_of(folder, 2)
    assert {name for name, value in second.items() if value == 1} == {
        "MI", "STTC", "statement_imi", "statement_nst", "statement_sr", "diagnostic_imi", "diagnostic_nst",
        "subclass_imi", "subclass_nst", "form_nst", "rhythm_sr",
    }  # fmt: skip
    assert values_of(folder, 4)[1]["subclass_lafb_lpfb"] == 1


def test_a_recording_without_a_statement_of_a_set_is_missing_for_that_set(folder):
    found, third = values_of(folder, 3)
    missing = {group for group, names in found.groups.items() if all(math.isnan(third[name]) for name in names)}
    assert missing == {"superclass", "diagnostic", "subclass"}
    found, fourth = values_of(folder, 4)
    missing = {group for group, names in found.groups.items() if all(math.isnan(fourth[name]) for name in names)}
    assert missing == {"form", "rhythm"}


def test_a_statement_that_the_table_does_not_list_is_remarked_on_and_says_nothing(folder):
    found, sixth = values_of(folder, 6)
    assert {name for name, value in sixth.items() if not math.isnan(value)} == {"age", "sex"}
    assert "ptbxl_database.csv: 1 statements stand not in scp_statements.csv: XYZ" in found.notes.remarks


def test_the_cohort_has_what_the_collection_says(folder, tmp_path):
    index = prepared(tmp_path, "--ecg", folder)
    assert [index.counts[split] for split in ("train", "val", "test")] == [3, 1, 2]
    rhythm = [label.name for label in index.layout.labels if label.group == "rhythm"]
    values = read_labels(index, rhythm, index.positions("train", ()))
    assert sorted(values.tolist()) == [[0, 1], [1, 0], [1, 0]]


def test_features_of_ptbxl_plus_are_found_by_their_key_wherever_it_stands(folder, tmp_path):
    plus = write_ptbxl_plus(tmp_path / "plus")
    found, first = values_of(folder, 1, plus=plus)
    assert found.groups["12sl"] == ["qrs_dur_global_12sl", "qt_int_global_12sl"]
    assert found.groups["ecgdeli"] == ["qrs_dur_global_ecgdeli"]
    assert (first["qrs_dur_global_12sl"], first["qt_int_global_12sl"], first["qrs_dur_global_ecgdeli"]) == (
        100,
        380,
        96,
    )
    second = found.of("00002_hr.hea")
    assert all(math.isnan(second[name]) for name in found.groups["12sl"])  # empty, and infinite
    assert math.isnan(found.of("00006_hr.hea")["qrs_dur_global_12sl"])
    assert "12sl_features.csv: lacks 2 of 6 recordings" in found.notes.remarks
    everything, first = values_of(folder, 1, plus=plus, features="all")
    assert everything.groups["12sl"][1] == "r_amp_v1_12sl"
    assert first["r_amp_v1_12sl"] == np.float32(0.1)
    assert "qrs_dur_global_iqr_ecgdeli" in everything.names


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("QRS_Dur_Global\n90\n", "12sl_features.csv: lacks column ecg_id"),
        ("ecg_id,QRS_Dur_Global\n1,90\n1,91\n", "12sl_features.csv: ecg_id 1 is listed twice"),
        ("", "12sl_features.csv: cannot be read as a table"),
    ],
)
def test_features_that_cannot_be_meant_are_refused(folder, tmp_path, content, reason):
    (tmp_path / "12sl_features.csv").write_text(content)
    with pytest.raises(UserError, match=reason):
        listed(PTBXLCollection(folder, tmp_path))


def test_a_folder_without_features_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"holds none of 12sl_features.csv, unig_features.csv"):
        listed(PTBXLCollection(folder, folder))
    with pytest.raises(UserError, match=r"features=some: choose one of global, all"):
        listed(PTBXLCollection(folder, write_ptbxl_plus(tmp_path / "plus"), "some"))


def test_all_sets_of_the_real_table_equal_an_independent_count(real_data_dir):
    """Counted anew from the two tables with nothing of this program."""
    folder = real_data_dir / "ptbxl"
    if not (folder / "ptbxl_database.csv").is_file():
        pytest.skip("no PTB-XL there")
    found = listed(PTBXLCollection(folder))
    sizes = {group: len(names) for group, names in found.groups.items()}
    assert {name: sizes[name] for name in ("statement", "diagnostic", "subclass", "superclass", "form", "rhythm")} == {
        "statement": 71, "diagnostic": 44, "subclass": 23, "superclass": 5, "form": 19, "rhythm": 12
    }  # fmt: skip
    statements = pd.read_csv(folder / "scp_statements.csv", index_col=0)
    database = pd.read_csv(folder / "ptbxl_database.csv")
    codes = [set(ast.literal_eval(text)) for text in database["scp_codes"]]
    diagnostic = statements[statements["diagnostic"] == 1]
    wanted = {
        "statement": [[code for code in one if code in statements.index] for one in codes],
        "diagnostic": [[code for code in one if code in diagnostic.index] for one in codes],
        "subclass": [{diagnostic["diagnostic_subclass"][c] for c in one if c in diagnostic.index} for one in codes],
        "superclass": [{diagnostic["diagnostic_class"][c] for c in one if c in diagnostic.index} for one in codes],
        "form": [[code for code in one if statements["form"].get(code) == 1] for one in codes],
        "rhythm": [[code for code in one if statements["rhythm"].get(code) == 1] for one in codes],
    }
    place = {name: column for column, name in enumerate(found.names)}
    for name, classes in wanted.items():
        columns = [place[label] for label in found.groups[name]]
        block = found.labels[:, columns]
        assert np.isnan(block).all(axis=1).sum() == sum(not one for one in classes)
        assert sorted(np.nansum(block, axis=0)[np.nansum(block, axis=0) > 0]) == sorted(
            Counter(label for one in classes for label in one).values()
        )


def test_features_come_by_the_command_line_and_belong_to_ptbxl_alone(folder, tmp_path):
    plus = write_ptbxl_plus(tmp_path / "plus")
    index = prepared(tmp_path, "--ecg", folder, "--ptbxl-plus", plus)
    rows = index.positions(None, ())
    assert np.nansum(read_labels(index, ["qrs_dur_global_12sl"], rows)) == 90 + 100 + 110
    prepared(tmp_path, "--ecg", folder / "records500", "--ptbxl-plus", plus, code=2)
    prepared(tmp_path, "--collection", "challenge2021", "--ecg", folder, "--ptbxl-plus", plus, code=2)


@pytest.mark.parametrize("place", ["records500", "records500/00000"])
def test_a_folder_in_ptbxl_is_not_taken_for_recordings_of_as_many_people(folder, tmp_path, capsys, place):
    words = ("prepare", "--out", str(tmp_path / "out"), "--ecg", str(folder / place))
    assert main([*words]) == 2
    assert "which holds ptbxl_database.csv, as the data set ptbxl does" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
