from __future__ import annotations

import math

import numpy as np
import pytest

from ecgcmr.errors import UserError
from ecgcmr.phenotypes import phenotypes
from ecgcmr.preparation.collections.ptbxl import PTBXL_LABELS
from ecgcmr.preparation.diseases import DISEASES, Disease, load_code_lists
from ecgcmr.preparation.label_columns import LabelCounts
from ecgcmr.preparation.label_table import label_subjects, read_label_table
from ecgcmr.preparation.labels import TableLabels, label_schema

NAN = math.nan
LABELS = label_schema()
COLUMN = {label.name: i for i, label in enumerate(LABELS)}


def table(tmp_path, text, name="t.csv", ids=("1", "2", "3")):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_label_table(path, list(ids))


def label(tables, ids=("1", "2", "3"), visit=2):
    counts = LabelCounts()
    values = label_subjects(list(ids), tables, visit, counts)
    assert values.shape == (len(ids), 99)
    return {name: values[:, i].tolist() for name, i in COLUMN.items()}, counts


def same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, equal_nan=True)


def test_columns_are_82_phenotypes_5_covariates_9_diseases_3_times():
    kinds = [entry.kind for entry in LABELS]
    assert kinds == ["phenotype"] * 82 + ["covariate"] * 5 + ["disease"] * 9 + ["time"] * 3
    assert [entry.name for entry in LABELS[:82]] == [phenotype.name for phenotype in phenotypes()]
    assert [entry.name for entry in LABELS[95:]] == ["dm_ever", "cad_years", "af_years", "dm_years"]
    assert {entry.unit for entry in LABELS[96:]} == {"years"}
    assert [entry.name for entry in PTBXL_LABELS] == ["NORM", "MI", "STTC", "CD", "HYP", "age", "sex"]


def test_further_diseases_come_last_and_move_nothing():
    schema = label_schema((*DISEASES, Disease("hf", "heart failure", ("I50",))))
    assert schema[:99] == LABELS
    assert [entry.name for entry in schema[99:]] == ["hf_prevalent", "hf_incident", "hf_ever", "hf_years"]
    assert [entry.kind for entry in schema[99:]] == ["disease"] * 3 + ["time"]


@pytest.mark.parametrize(
    ("header", "sex"),
    [
        ("eid,24100-2.0,24100-3.0,21003-2.0,21003-0.0,31-0.0,50-2.0,21002-2.0", "1"),
        ("f.eid,f.24100.2.0,f.24100.3.0,f.21003.2.0,f.21003.0.0,f.31.0.0,f.50.2.0,f.21002.2.0", "Male"),
        ("eid,p24100_i2,p24100_i3,p21003_i2,p21003_i0,p31,p50_i2,p21002_i2", "1"),
    ],
)
def test_values_of_the_imaging_visit_in_all_styles(tmp_path, header, sex):
    values, _ = label([table(tmp_path, f"{header}\n2,151.5,99,64,55,{sex},180,81\n")])
    same(values["lv_edv"], [NAN, 151.5, NAN])
    same(values["age"], [NAN, 64, NAN])
    same(values["sex"], [NAN, 1, NAN])
    same(values["bmi"], [NAN, 25, NAN])
    same(values["lv_esv"], [NAN] * 3)


def test_repeat_visit_takes_its_own_columns(tmp_path):
    values, _ = label([table(tmp_path, "eid,24100-2.0,24100-3.0\n1,150,99\n")], visit=3)
    same(values["lv_edv"], [99, NAN, NAN])


def test_implausible_and_unreadable_values_are_missing_and_counted(tmp_path):
    text = "eid,24100-2.0,24103-2.0,50-2.0\n1,5000,60,abc\n2,-1,,170\n3,120,nan,17\n"
    values, counts = label([table(tmp_path, text)])
    same(values["lv_edv"], [NAN, NAN, 120])
    same(values["height"], [NAN, 170, NAN])
    assert counts.out_of_range == {"lv_edv": 2, "height": 1}
    assert counts.unreadable == {"height": 1}


def test_plain_names_and_those_of_acdc(tmp_path):
    text = "patient,group,lvedv_ml,LV_ESV,lvm_ed_g,cad_ever\n1,DCM,295.5,225,172,1\n"
    values, _ = label([table(tmp_path, text)])
    same([values[name][0] for name in ("lv_edv", "lv_esv", "lv_mass", "cad_ever")], [295.5, 225, 172, 1])


def test_first_table_stands_and_later_ones_fill(tmp_path):
    first = table(tmp_path, "eid,24100-2.0\n1,100\n2,\n", "a.csv")
    second = table(tmp_path, "eid,24100-2.0\n1,200\n2,210\n2,220\n", "b.csv")
    values, _ = label([first, second])
    same(values["lv_edv"], [100, 210, NAN])


def test_code_lists():
    coronary, atrial, diabetes = DISEASES
    for code in ("I249", "I250", "I200", "I214", "I229", "I259"):
        assert coronary.includes(code)
    for code in ("I202", "I23", "I230", "I241", "I48", "J249"):
        assert not coronary.includes(code)
    assert atrial.includes("I48.9")
    assert atrial.includes("i480")
    assert [diabetes.includes(code) for code in ("E100", "E149", "E15", "O24")] == [True, True, False, False]


def test_labels_of_zero_and_one_take_no_other_value(tmp_path):
    values, counts = label([table(tmp_path, "eid,cad_ever,sex,af_years\n1,0.5,2,3.5\n2,1,0,-1\n3,0,Female,101\n")])
    same(values["cad_ever"], [NAN, 1, 0])
    same(values["sex"], [NAN, 0, 0])
    same(values["af_years"], [3.5, NAN, NAN])
    assert counts.out_of_range == {"cad_ever": 1, "sex": 1, "af_years": 2}


def test_of_several_rows_the_first_usable_value_counts_and_the_rest_is_not_looked_at(tmp_path):
    text = "eid,24100-2.0\n1,-5\n1,120\n1,abc\n2,\n2,x\n2,nan\n2,130\n2,-1\n"
    values, counts = label([table(tmp_path, text)])
    same(values["lv_edv"], [120, 130, NAN])
    assert (counts.out_of_range, counts.unreadable) == ({"lv_edv": 1}, {"lv_edv": 1})


def test_infinite_values_and_python_spellings_are_no_numbers(tmp_path):
    values, counts = label([table(tmp_path, "eid,24100-2.0\n1,inf\n2,1_0_0\n3,1e2\n")])
    same(values["lv_edv"], [NAN, NAN, 100])
    assert (counts.out_of_range, counts.unreadable) == ({"lv_edv": 1}, {"lv_edv": 1})


def test_a_table_of_other_people_is_told(tmp_path):
    with pytest.raises(UserError, match=r"t.csv: none of its 2 rows is of a subject") as caught:
        table(tmp_path, "eid,24100-2.0\n1000011,100\n1000012,100\n")
    assert "1000011" not in str(caught.value)


def codes(tmp_path, text):
    path = tmp_path / "codes.yaml"
    path.write_text(text, encoding="utf-8")
    return TableLabels.read(path, None).diseases[len(DISEASES) :]


def test_code_lists_in_yaml(tmp_path):
    text = "heart_failure:\n  title: heart failure\n  prefixes: [I50, i11.0]\nstroke: {prefixes: [I6]}\n"
    failure, stroke = codes(tmp_path, text)
    assert failure == Disease("heart_failure", "heart failure", ("I50", "I110"))
    assert stroke == Disease("stroke", "stroke", ("I6",))
    assert failure.includes("I11.0")
    assert not failure.includes("I119")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must map names"),
        ("[I50]", "must map names"),
        ("hf: {prefixes: [I50]}\nhf: {prefixes: [I51]}", "'hf' is given twice"),
        ("heart failure: {prefixes: [I50]}", "'heart failure' is no name"),
        ("HF: {prefixes: [I50]}", "'HF' is no name"),
        ("1: {prefixes: [I50]}", "1 is no name"),
        ("cad: {prefixes: [I50]}", "label cad_prevalent would stand for two things"),
        ("hf: [I50]", "hf: give it a title and prefixes"),
        ("hf: {prefixes: [I50], icd9: [428]}", "nothing else"),
        ("hf: {title: heart failure}", "has no prefixes"),
        ("hf: {prefixes: []}", "has no prefixes"),
        ("hf: {prefixes: I50}", "has no prefixes"),
        ("hf: {prefixes: [428]}", "428 is no beginning"),
        ("hf: {prefixes: ['']}", "'' is no beginning"),
        ("hf: {prefixes: ['I50|I51']}", "is no beginning"),
        ("hf: {title: [a], prefixes: [I50]}", "its title is no text"),
        ("hf: {prefixes: [I50", "cannot be read as YAML"),
        ("hf: !!python/object/apply:os.system [ls]", "cannot be read as YAML"),
        ("a: &a [x]\nb: *c", "cannot be read as YAML"),
        ("- " * 2000, "codes.yaml: "),
    ],
)
def test_unusable_code_lists_are_told(tmp_path, text, reason):
    with pytest.raises(UserError) as caught:
        codes(tmp_path, text)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("codes.yaml: ")
    assert "\n" not in str(caught.value)


def test_code_lists_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_code_lists(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="no UTF-8"):
        load_code_lists(tmp_path / "binary.yaml")
    (tmp_path / "long.yaml").write_text("#" * (2 << 20))
    with pytest.raises(UserError, match="larger than"):
        load_code_lists(tmp_path / "long.yaml")
