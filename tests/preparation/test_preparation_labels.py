from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from ecgcmr.phenotypes import PHENOTYPES
from ecgcmr.preparation.label_table import LabelCounts, label_subjects, read_label_table
from ecgcmr.preparation.labels import DISEASES, LABELS, PTBXL_LABELS, SPECIAL_DATES, disease_labels

NAN = math.nan
IMAGING = date(2016, 5, 1)
COLUMN = {label.name: i for i, label in enumerate(LABELS)}


def table(tmp_path, text, name="t.csv", ids=("1", "2", "3")):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_label_table(path, list(ids))


def label(tables, ids=("1", "2", "3"), visit=2):
    counts = LabelCounts()
    values = label_subjects(list(ids), tables, visit, counts)
    assert values.shape == (len(ids), 96)
    return {name: values[:, i].tolist() for name, i in COLUMN.items()}, counts


def same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, equal_nan=True)


def test_columns_are_82_phenotypes_5_covariates_9_diseases():
    kinds = [entry.kind for entry in LABELS]
    assert kinds == ["phenotype"] * 82 + ["covariate"] * 5 + ["disease"] * 9
    assert [entry.name for entry in LABELS[:82]] == [phenotype.name for phenotype in PHENOTYPES]
    assert LABELS[-1].name == "dm_ever"
    assert [entry.name for entry in PTBXL_LABELS] == ["NORM", "MI", "STTC", "CD", "HYP", "age", "sex"]


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


@pytest.mark.parametrize(
    ("diagnoses", "imaging", "expected"),
    [
        ([], IMAGING, (0, 0, 0)),
        ([("J45", date(2010, 1, 1))], IMAGING, (0, 0, 0)),
        ([("I251", date(2010, 1, 1))], IMAGING, (1, NAN, 1)),
        ([("I251", IMAGING)], IMAGING, (1, NAN, 1)),
        ([("I25.1", date(2018, 1, 1))], IMAGING, (0, 1, 1)),
        ([("I251", date(2018, 1, 1)), ("I209", date(2012, 1, 1))], IMAGING, (1, NAN, 1)),
        ([("I251", None)], IMAGING, (NAN, NAN, 1)),
        ([("I251", date(1903, 3, 3))], IMAGING, (NAN, NAN, 1)),
        ([("I251", None), ("I209", date(2018, 1, 1))], IMAGING, (NAN, NAN, 1)),
        ([("I251", None), ("I209", date(2012, 1, 1))], IMAGING, (1, NAN, 1)),
        ([("I251", date(2010, 1, 1))], None, (NAN, NAN, 1)),
        ([], None, (0, 0, 0)),
    ],
)
def test_prevalent_incident_ever(diagnoses, imaging, expected):
    labels = disease_labels(diagnoses, imaging)
    same([labels["cad_prevalent"], labels["cad_incident"], labels["cad_ever"]], expected)
    same([labels["af_ever"], labels["dm_ever"]], [0, 0])


def test_code_lists():
    coronary, atrial, diabetes = DISEASES
    for code in ("I249", "I250", "I200", "I214", "I229", "I259"):
        assert coronary.includes(code)
    for code in ("I202", "I23", "I230", "I241", "I48", "J249"):
        assert not coronary.includes(code)
    assert atrial.includes("I48.9")
    assert atrial.includes("i480")
    assert [diabetes.includes(code) for code in ("E100", "E149", "E15", "O24")] == [True, True, False, False]
    assert date(2037, 7, 7) in SPECIAL_DATES


def test_codes_and_dates_are_paired_by_index_even_from_two_tables(tmp_path):
    codes = table(tmp_path, "eid,41270-0.0,41270-0.1,53-2.0\n1,J45,I48,2016-05-01\n2,E119,,2016-05-01\n", "codes.csv")
    dates = table(tmp_path, "eid,41280-0.0,41280-0.1\n1,2010-01-01,2019-02-03\n2,2011-01-01,\n", "dates.csv")
    values, _ = label([codes, dates])
    same(values["af_incident"], [1, 0, NAN])
    same(values["af_prevalent"], [0, 0, NAN])
    same(values["dm_prevalent"], [0, 1, NAN])
    same(values["cad_ever"], [0, 0, NAN])


@pytest.mark.parametrize("joined", ["J45|I48|E119", '"[""J45"",""I48"",""E119""]"'])
def test_joined_codes_of_the_research_platform(tmp_path, joined):
    text = f"eid,p41270,p41280_a0,p41280_a1,p41280_a2,p53_i2\n1,{joined},2010-01-01,2019-02-03,2012-01-01,2016-05-01\n"
    values, _ = label([table(tmp_path, text + "2,,,,,2016-05-01\n")])
    same(values["af_incident"], [1, 0, NAN])
    same(values["dm_prevalent"], [1, 0, NAN])


def test_first_occurrence_alone_tells_only_of_those_who_have_it(tmp_path):
    text = "eid,131350-0.0,131306-0.0,53-2.0\n1,2012-01-01,,2016-05-01\n2,,2018-01-01,2016-05-01\n3,,,2016-05-01\n"
    values, _ = label([table(tmp_path, text)])
    same(values["af_prevalent"], [1, NAN, NAN])
    same(values["cad_incident"], [NAN, 1, NAN])
    same(values["dm_ever"], [NAN, NAN, NAN])


def test_unreadable_dates_are_counted(tmp_path):
    values, counts = label([table(tmp_path, "eid,41270-0.0,41280-0.0,53-2.0\n1,I48,soon,2016-05-01\n")])
    same(values["af_prevalent"], [NAN] * 3)
    same(values["af_ever"], [1, NAN, NAN])
    assert counts.unreadable == {"41280": 1}
