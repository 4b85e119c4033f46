"""Collections that ecgbench describes: its labels, leads, units and splits through this program's readers."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from code15_folder import write_code15
from cohort_of import ecg_where, listed, prepared
from ecgbench_folders import signal_of, write_chapman, write_ludb, write_medalcare, write_sph
from echonext_folder import write_echonext
from ptbxl_folder import write_ptbxl

from ecgcmr.errors import UserError
from ecgcmr.preparation.collections.code15 import Code15Collection
from ecgcmr.preparation.collections.ecgbench import EcgbenchCollection, twelve_lead_collections
from ecgcmr.preparation.collections.echonext import EchoNextCollection
from ecgcmr.preparation.collections.ptbxl import PTBXLCollection
from ecgcmr.preparation.options import PrepareOptions

ecgbench = pytest.importorskip("ecgbench")


def collection(slug, folder):
    return EcgbenchCollection(PrepareOptions(folder / "out", ecg=folder, collection=f"ecgbench:{slug}"))


def test_the_twelve_lead_collections_are_those_from_which_twelve_leads_follow(tmp_path):
    found = twelve_lead_collections()
    assert {"ptbxl", "challenge2021", "sph", "ludb", "code15", "zzu_pecg", "ikem", "ptbdb"} <= set(found)
    assert {"mitdb", "challenge2017", "edgar"}.isdisjoint(found)
    for slug in found:
        assert collection(slug, tmp_path).slug == slug


def test_hdf5_of_a_file_a_record_patients_and_lists_of_codes(tmp_path):
    folder = write_sph(tmp_path / "sph")
    found = listed(collection("sph", folder))
    assert [one.subject for one in found.candidates] == ["S1", "S2", "S2"]
    assert found.groups["aha_primary_codes"] == [f"aha_primary_codes_{code}" for code in ("1", "147", "60")]
    second = found.of("A00002.h5")
    assert (second["aha_primary_codes_60"], second["aha_primary_codes_147"], second["aha_primary_codes_1"]) == (1, 1, 0)
    assert (second["is_normal"], second["age"], second["sex"]) == (0, 61, 0)
    assert not [name for name in found.names if "stratify" in name or name.startswith("n_")]
    index = prepared(tmp_path, "--collection", "ecgbench:sph", "--ecg", folder)
    assert index.counts["total"] == 3
    np.testing.assert_allclose(ecg_where(index, "age", lambda age: age == 50), signal_of(0), atol=2e-3)


def test_wfdb_with_leads_in_lower_case_and_cells_that_are_lists(tmp_path):
    folder = write_ludb(tmp_path / "ludb")
    found = listed(collection("ludb", folder))
    first, second = found.of("1.hea"), found.of("2.hea")
    assert (first["hypertrophies_lvh"], second["hypertrophies_lvh"]) == (1, 0)
    assert (first["rhythms_sinus_rhythm"], second["rhythms_atrial_fibrillation"]) == (1, 1)
    assert math.isnan(second["age"])  # ">89" is no number
    index = prepared(tmp_path, "--collection", "ecgbench:ludb", "--ecg", folder)
    np.testing.assert_allclose(ecg_where(index, "sex", lambda sex: sex == 0), signal_of(1), atol=3e-3)


def test_text_in_microvolts_and_numbers(tmp_path):
    folder = write_chapman(tmp_path / "chapman")
    found = listed(collection("chapman_shaoxing", folder))
    assert found.of("MUSE_1.csv")["ventricularrate"] == 110
    assert found.of("MUSE_1.csv")["rhythm_afib"] == 1
    assert found.of("MUSE_2.csv")["sex"] == 1
    index = prepared(tmp_path, "--collection", "ecgbench:chapman_shaoxing", "--ecg", folder)
    np.testing.assert_allclose(ecg_where(index, "sex", lambda sex: sex == 0), signal_of(0), atol=2e-3)


def test_the_publishers_split_is_kept_and_rows_of_leads_are_read(tmp_path):
    folder = write_medalcare(tmp_path / "medalcare")
    found = listed(collection("medalcare_xl", folder))
    assert [one.split for one in found.candidates] == ["test", "val", "train"]
    assert {found.of("run_00/1_filtered.csv")[name] for name in found.names if name == "pathology_sinus"} == {1.0}
    index = prepared(tmp_path, "--collection", "ecgbench:medalcare_xl", "--ecg", folder)
    assert [index.counts[split] for split in ("train", "val", "test")] == [1, 1, 1]
    np.testing.assert_allclose(ecg_where(index, "pathology_sinus", lambda is_so: is_so == 1), signal_of(0), atol=2e-3)


def test_ptbxl_by_the_library_has_the_labels_of_our_own_and_no_sex_by_number(tmp_path):
    """A second loader of the same folder, by others; in it 0 is a man."""
    folder = write_ptbxl(tmp_path / "ptbxl")
    theirs, ours = listed(collection("ptbxl", folder)), listed(PTBXLCollection(folder))
    assert "sex" not in theirs.names
    assert math.isnan(theirs.of("00002_hr.hea")["age"])  # 300 stands for over 89
    assert [one.subject for one in theirs.candidates] == [one.subject for one in ours.candidates]
    for ecg_id in range(1, 6):
        name = f"{ecg_id:05d}_hr.hea"
        for prefix, own in (("form_codes_", "form_"), ("rhythm_codes_", "rhythm_"), ("subclasses_", "subclass_")):
            said = {label.removeprefix(prefix) for label, value in theirs.of(name).items()
                    if label.startswith(prefix) and value == 1}  # fmt: skip
            meant = {label.removeprefix(own) for label, value in ours.of(name).items()
                     if label.startswith(own) and value == 1}  # fmt: skip
            assert said == meant


def test_echonext_by_the_library_is_a_z_score_and_what_was_not_measured_is_missing(tmp_path):
    """Beside our own collection of the same folder."""
    folder = tmp_path / "echonext"
    table = write_echonext(folder)
    before = sorted(folder.rglob("*"))
    theirs = listed(collection("echonext", folder))
    ours = listed(EchoNextCollection(PrepareOptions(tmp_path / "out", ecg=folder, collection="echonext")))
    assert sorted(folder.rglob("*")) == before
    assert len(theirs.candidates) == len(ours.candidates) == (table["split"] != "no_split").sum()
    own = {(one.split, one.read_by.row): row for row, one in enumerate(ours.candidates)}
    flags = [name for name in ours.groups["echo_flags"] if name in theirs.names]
    assert len(flags) == 11
    flags.append("age")
    for row, one in enumerate(theirs.candidates):
        other = own[one.split, one.read_by.row]
        assert one.subject == ours.candidates[other].subject
        np.testing.assert_array_equal(
            theirs.labels[row, [theirs.names.index(name) for name in flags]],
            ours.labels[other, [ours.names.index(name) for name in flags]],
        )
    index = prepared(tmp_path, "--collection", "ecgbench:echonext", "--ecg", folder)
    assert index.layout.ecg is not None
    assert index.layout.ecg.unit == "z-score"


def test_code15_by_the_library_is_without_padding_and_with_the_labels_of_our_own(tmp_path):
    folder = tmp_path / "code15"
    write_code15(folder)
    theirs = listed(collection("code15", folder))
    ours = listed(Code15Collection(PrepareOptions(tmp_path / "out", ecg=folder, collection="code15")))
    own = {(one.ecg, one.read_by.row): row for row, one in enumerate(ours.candidates)}
    assert len(theirs.candidates) == len(own)
    same = {"x_1davb": "avb_1d", "followup_years": "death_years"}
    same |= {name: name for name in ("rbbb", "af", "death", "age", "sex", "normal_ecg")}
    for row, one in enumerate(theirs.candidates):
        other = ours.candidates[own[one.ecg, one.read_by.row]]
        np.testing.assert_array_equal(one.read_by.read(one.ecg).signal, other.read_by.read(other.ecg).signal)
        for name, our_name in same.items():
            np.testing.assert_array_equal(
                theirs.labels[row, theirs.names.index(name)],
                ours.labels[own[one.ecg, one.read_by.row], ours.names.index(our_name)],
            )
    assert not {"is_male", "trace_file_exams_part0_hdf5"} & set(theirs.names)


def test_nothing_is_written_into_the_folder_of_the_collection(tmp_path):
    folders = {
        "sph": write_sph(tmp_path / "sph"),
        "ludb": write_ludb(tmp_path / "ludb"),
        "chapman_shaoxing": write_chapman(tmp_path / "chapman"),
        "medalcare_xl": write_medalcare(tmp_path / "medalcare"),
    }
    for slug, folder in folders.items():
        before = sorted(folder.rglob("*"))
        listed(collection(slug, folder))
        assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("slug", "reason"),
    [
        ("mitdb", r"ecgbench:mitdb: has leads MLII, V1, from which the twelve do not follow"),
        ("nosuch", r"ecgbench:nosuch: ecgbench knows no such collection; it has brugada_huca, "),
    ],
)
def test_a_collection_that_cannot_be_taken_is_refused_in_one_line(tmp_path, slug, reason):
    with pytest.raises(UserError, match=reason) as caught:
        collection(slug, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_something_else_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"^ecgbench:sph: ecgbench cannot read it \(LabelSourceMissingError") as caught:
        listed(collection("sph", tmp_path / "empty"))
    assert str(tmp_path) not in str(caught.value)


def test_without_the_library_the_message_names_the_extra(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "ecgbench"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ecgbench", None)
    with pytest.raises(UserError, match=r"needs the package ecgbench, .* pip install ecgcmr\[open-data\]"):
        collection("sph", tmp_path)
