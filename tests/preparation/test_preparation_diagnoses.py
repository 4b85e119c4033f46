"""Diagnoses: prevalent, incident, ever and years, from every form in which tables hold codes and dates."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgcmr.formats.table_dates import SPECIAL_DATES
from ecgcmr.preparation.diagnoses import DAYS_PER_YEAR, History, disease_labels
from ecgcmr.preparation.diseases import DISEASES, Disease
from ecgcmr.preparation.label_columns import LabelCounts
from ecgcmr.preparation.label_table import label_subjects, read_label_table
from ecgcmr.preparation.labels import TableLabels, label_schema

NAN = math.nan
IMAGING = date(2016, 5, 1)
END = date(2020, 5, 1)
IDS = ["1", "2", "3"]
FAILURE = Disease("hf", "heart failure", ("I50", "I110"))


def table(tmp_path, text, name="t.csv", ids=IDS, diseases=DISEASES):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_label_table(path, ids, TableLabels(diseases))


def label(tables, ids=IDS, visit=2, diseases=DISEASES, censor_date=None):
    counts = LabelCounts()
    values = label_subjects(ids, tables, visit, counts, TableLabels(diseases), censor_date)
    names = [entry.name for entry in label_schema(diseases)]
    assert values.shape == (len(ids), len(names))
    return dict(zip(names, values.T.tolist(), strict=True)), counts


def same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, equal_nan=True)


def years(day, other):
    return (date.fromisoformat(other) - date.fromisoformat(day)).days / DAYS_PER_YEAR


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


YEAR = 365 / DAYS_PER_YEAR


@pytest.mark.parametrize(
    ("diagnoses", "imaging", "end", "expected"),
    [
        ([("I48", date(2017, 5, 1))], IMAGING, END, (0, 1, 1, YEAR)),
        ([("I48", date(2017, 5, 1)), ("I480", date(2018, 5, 1))], IMAGING, END, (0, 1, 1, YEAR)),
        ([("I48", END)], IMAGING, END, (0, 1, 1, 1461 / DAYS_PER_YEAR)),
        ([], IMAGING, END, (0, 0, 0, 4.0)),
        ([("I48", date(2020, 5, 2))], IMAGING, END, (0, 0, 0, 4.0)),  # after the end: not known
        ([("I48", date(2015, 5, 1))], IMAGING, END, (1, NAN, 1, NAN)),
        ([("I48", None)], IMAGING, END, (NAN, NAN, 1, NAN)),
        ([], IMAGING, None, (0, 0, 0, NAN)),
        ([("I48", date(2017, 5, 1))], IMAGING, None, (0, 1, 1, YEAR)),
        ([], IMAGING, IMAGING, (0, 0, 0, 0.0)),
        ([], IMAGING, date(2016, 4, 30), (0, NAN, 0, NAN)),  # nothing is known of the time after imaging
        ([("I48", IMAGING)], IMAGING, date(2016, 4, 1), (1, NAN, 1, NAN)),
        ([("I48", date(2017, 5, 1))], IMAGING, date(2016, 4, 30), (0, NAN, 0, NAN)),
        ([("I48", date(2017, 5, 1))], None, END, (NAN, NAN, 1, NAN)),
        ([("I48", date(2021, 5, 1))], None, END, (0, 0, 0, NAN)),
    ],
)
def test_years_to_the_event_or_the_end_of_follow_up(diagnoses, imaging, end, expected):
    labels = disease_labels(diagnoses, imaging, end=end)
    same([labels[f"af_{part}"] for part in ("prevalent", "incident", "ever", "years")], expected)


DAYS = st.dates(date(2005, 1, 1), date(2025, 1, 1))


@given(st.lists(st.tuples(st.sampled_from(["I48", "I481", "J45"]), DAYS), max_size=4), DAYS, DAYS)
def test_labels_of_a_disease_never_contradict_each_other(diagnoses, imaging, end):
    labels = disease_labels(diagnoses, imaging, end=end)
    prevalent, incident, ever, years = (labels[f"af_{part}"] for part in ("prevalent", "incident", "ever", "years"))
    assert math.isnan(incident) == math.isnan(years)
    assert math.isnan(incident) == (prevalent == 1 or end < imaging)
    assert ever == max(prevalent, 0 if math.isnan(incident) else incident)
    if not math.isnan(years):
        assert 0 <= years <= (end - imaging).days / DAYS_PER_YEAR + 1e-9
        assert incident == 1 or years == (end - imaging).days / DAYS_PER_YEAR


def test_follow_up_ends_with_what_comes_first_but_not_before_the_visit():
    history = History(imaging=IMAGING, death=date(2018, 1, 1), lost=date(2017, 1, 1))
    assert history.end_of_follow_up(END) == date(2017, 1, 1)
    assert history.end_of_follow_up(date(2016, 12, 1)) == date(2016, 12, 1)
    assert History(imaging=IMAGING).end_of_follow_up(END) == END
    assert History(imaging=IMAGING).end_of_follow_up(None) is None
    assert History(imaging=IMAGING, lost=date(2012, 1, 1)).end_of_follow_up(END) == END
    assert History(lost=date(2012, 1, 1)).end_of_follow_up(END) == date(2012, 1, 1)


@pytest.mark.parametrize("special", sorted(SPECIAL_DATES))
def test_special_dates_are_missing_everywhere(special):
    history, counts = History(), Counter()
    for number, text in ((53, str(special)), (40000, str(special)), (191, str(special)), (41280, str(special))):
        history.add(number, text, counts)
    history.add(41270, "I48", counts)
    history.end_row()
    assert (history.imaging, history.death, history.lost, history.dated) == (None, None, None, {"I48": None})
    assert not counts
    assert math.isnan(disease_labels([("I48", special)], IMAGING, end=END)["af_incident"])


VISITS = ["2016-05-01", "2016-05-01", "2016-05-01"]
CODES = [["J45", "I48", "E119"], ["I251", "", "I48"], []]
DATES = [["2010-01-01", "2019-02-03", "2012-01-01"], ["2014-01-01", "", "2018-01-01"], []]
EXPECTED = {
    "af_incident": [1, 1, 0],
    "af_years": [years("2016-05-01", "2019-02-03"), years("2016-05-01", "2018-01-01"), 1008 / DAYS_PER_YEAR],
    "dm_prevalent": [1, 0, 0],
    "cad_prevalent": [0, 1, 0],
    "cad_ever": [0, 1, 0],
}


def export(style):
    """The same three histories as each way of export writes them."""
    arrays = {"classic": "{0}-0.{1}", "r": "f.{0}.0.{1}", "platform": "p{0}_a{1}"}
    kind = style.split()[0]
    eid, visit = {"classic": ("eid", "53-2.0"), "r": ("f.eid", "f.53.2.0"), "platform": ("eid", "p53_i2")}[kind]
    header, lines = [eid, visit], [[str(i + 1), day] for i, day in enumerate(VISITS)]
    for number, values in ((41270, CODES), (41280, DATES)):
        joined = "joined" in style and (number == 41270 or "dates" in style)
        header += [f"p{number}"] if joined else [arrays[kind].format(number, i) for i in range(3)]
        for line, row in zip(lines, values, strict=True):
            padded = row + [""] * (3 - len(row))
            if not joined:
                line += padded
            elif "list" in style:
                line.append('"' + json.dumps(row).replace('"', '""') + '"' if row else "")
            else:
                line.append("|".join(row))
    return "\n".join(",".join(line) for line in [header, *lines]) + "\n"


@pytest.mark.parametrize(
    "style", ["classic", "r", "platform", "platform joined", "platform joined list", "platform joined dates"]
)
def test_every_export_style_gives_the_same_labels(tmp_path, style):
    values, counts = label([table(tmp_path, export(style))])
    for name, expected in EXPECTED.items():
        same(values[name], expected)
    assert not counts.unreadable


def test_codes_with_their_meaning_and_with_dots(tmp_path):
    text = (
        "eid,p41270,p41280_a0,p41280_a1,p53_i2\n"
        "1,J45.9 Asthma|I48.0 Paroxysmal fibrillation,2010-01-01,2019-02-03,2016-05-01\n"
    )
    values, _ = label([table(tmp_path, text)])
    same(values["af_incident"], [1, NAN, NAN])


def test_codes_and_dates_are_paired_by_index_even_from_two_tables(tmp_path):
    codes = table(tmp_path, "eid,41270-0.0,41270-0.1,53-2.0\n1,J45,I48,2016-05-01\n2,E119,,2016-05-01\n", "codes.csv")
    dates = table(tmp_path, "eid,41280-0.0,41280-0.1\n1,2010-01-01,2019-02-03\n2,2011-01-01,\n", "dates.csv")
    values, _ = label([codes, dates])
    same(values["af_incident"], [1, 0, NAN])
    same(values["af_prevalent"], [0, 0, NAN])
    same(values["dm_prevalent"], [0, 1, NAN])
    same(values["cad_ever"], [0, 0, NAN])


HEAD = "eid,53-2.0,41270-0.0,41270-0.1,41280-0.0,41280-0.1\n"


def test_tables_of_diagnoses_that_disagree(tmp_path):
    """The first known date of a code stands and another is counted; the order of an array says nothing of a code."""
    early = table(tmp_path, f"{HEAD}1,2016-05-01,I251,I48,2014-01-01,2018-01-01\n", "early.csv")
    late = table(tmp_path, f"{HEAD}1,2016-05-01,I251,I48,2018-06-01,2018-01-01\n", "late.csv")
    turned = table(tmp_path, f"{HEAD}1,2016-05-01,I48,I251,2018-01-01,2014-01-01\n", "turned.csv")
    undated = table(tmp_path, f"{HEAD}1,2016-05-01,I251,,1900-01-01,\n", "undated.csv")
    codes = table(tmp_path, "eid,53-2.0,41270-0.0\n1,2016-05-01,I251\n", "codes.csv")
    for tables, prevalent, disagreeing in (
        ([early, late], 1, {"41280": 1}),
        ([late, early], 0, {"41280": 1}),
        ([early, turned], 1, {}),
        ([turned, early], 1, {}),
        ([undated, late], 0, {}),  # what the first does not know the second says
        ([undated, turned], 1, {}),
        ([codes, turned], 1, {}),  # and not at its own place in the array, which is of I48 there
        ([turned, codes], 1, {}),
    ):
        values, counts = label(tables)
        same(values["cad_prevalent"][0], prevalent)
        same(values["af_incident"][0], 1)
        same(values["af_years"][0], years("2016-05-01", "2018-01-01"))
        assert counts.disagreeing == disagreeing


def test_an_array_with_gaps_keeps_its_indices(tmp_path):
    text = "eid,41270-0.3,41280-0.3,41270-0.1,41280-0.0,53-2.0\n1,I48,2012-01-01,I251,2011-01-01,2016-05-01\n"
    values, _ = label([table(tmp_path, text)])
    same(values["af_prevalent"][0], 1)
    same([values["cad_prevalent"][0], values["cad_ever"][0]], [NAN, 1])


def test_first_occurrence_alone_tells_only_of_those_who_have_it(tmp_path):
    text = "eid,131350-0.0,131306-0.0,53-2.0\n1,2012-01-01,,2016-05-01\n2,,2018-01-01,2016-05-01\n3,,,2016-05-01\n"
    values, _ = label([table(tmp_path, text)])
    same(values["af_prevalent"], [1, NAN, NAN])
    same(values["cad_incident"], [NAN, 1, NAN])
    same(values["cad_years"], [NAN, years("2016-05-01", "2018-01-01"), NAN])
    same(values["dm_ever"], [NAN, NAN, NAN])


def test_unreadable_dates_are_counted(tmp_path):
    text = "eid,41270-0.0,41280-0.0,53-2.0,40000-0.0\n1,I48,soon,2016-05-01,9999-12-31\n"
    values, counts = label([table(tmp_path, text)])
    same(values["af_prevalent"], [NAN] * 3)
    same(values["af_ever"], [1, NAN, NAN])
    assert counts.unreadable == {"41280": 1, "40000": 1}


DEATHS = """eid,41270-0.0,41280-0.0,53-2.0,40000-0.0,40000-1.0,191-0.0
1,I48,2019-05-01,2016-05-01,2018-05-01,2018-05-02,
2,J45,2020-01-01,2016-05-01,,,2017-05-01
3,J45,2020-05-01,2016-05-01,,,2011-01-01
"""


def test_death_and_loss_end_follow_up_and_the_latest_diagnosis_censors(tmp_path):
    values, _ = label([table(tmp_path, DEATHS)])
    same(values["af_incident"], [0, 0, 0])
    same(values["af_ever"], [0, 0, 0])
    same(values["af_years"], [730 / DAYS_PER_YEAR, 365 / DAYS_PER_YEAR, 1461 / DAYS_PER_YEAR])


def test_a_given_day_of_censoring_stands(tmp_path):
    values, _ = label([table(tmp_path, DEATHS)], censor_date=date(2016, 11, 1))
    same(values["dm_years"], [184 / DAYS_PER_YEAR] * 3)
    later, _ = label([table(tmp_path, DEATHS)], censor_date=date(2023, 5, 1))
    same(later["dm_years"], [730 / DAYS_PER_YEAR, 365 / DAYS_PER_YEAR, 2556 / DAYS_PER_YEAR])


def test_censoring_is_the_latest_diagnosis_of_anybody_in_the_file_but_no_special_or_impossible_date(tmp_path):
    text = "eid,41270-0.0,41280-0.0,53-2.0\n1,J45,2010-01-01,2016-05-01\n77,J45,2020-05-01,2016-05-01\n"
    text += "78,J45,2037-07-07,2016-05-01\n79,J45,9999-12-31,2016-05-01\n80,J45,soon,2016-05-01\n"
    read = table(tmp_path, text)
    assert read.ids.tolist() == ["1"]
    assert read.latest == {41280: END}
    same(label([read])[0]["af_years"], [4.0, NAN, NAN])


def test_without_an_imaging_date_no_time_is_known(tmp_path):
    text = "eid,41270-0.0,41280-0.0,53-2.0\n1,I48,2010-01-01,\n2,,,1900-01-01\n3,J45,2019-01-01,2016-05-01\n"
    values, _ = label([table(tmp_path, text)])
    same(values["af_prevalent"], [NAN, 0, 0])
    same(values["af_years"], [NAN, NAN, 975 / DAYS_PER_YEAR])


def test_the_repeat_visit_counts_from_its_own_day(tmp_path):
    text = "eid,41270-0.0,41280-0.0,53-2.0,53-3.0\n1,I48,2018-01-01,2016-05-01,2019-01-01\n"
    read = table(tmp_path, text)
    assert label([read])[0]["af_incident"][0] == 1
    assert label([read], visit=3)[0]["af_prevalent"][0] == 1


def test_diseases_of_a_list_get_the_same_four_labels(tmp_path):
    diseases = (*DISEASES, FAILURE)
    text = "eid,41270-0.0,41280-0.0,53-2.0\n1,I110,2018-05-01,2016-05-01\n2,I119,2018-01-01,2016-05-01\n"
    values, _ = label([table(tmp_path, text, diseases=diseases)], diseases=diseases)
    same(values["hf_incident"], [1, 0, NAN])
    same(values["hf_years"], [730 / DAYS_PER_YEAR, 730 / DAYS_PER_YEAR, NAN])
    named = table(tmp_path, "eid,hf_ever\n2,1\n", "n.csv", diseases=diseases)
    assert label([named], diseases=diseases)[0]["hf_ever"][1] == 1


@given(st.integers(0, 4000), st.integers(0, 4000))
def test_years_are_days_over_a_mean_year(after, end):
    found = IMAGING + timedelta(days=after + 1)
    labels = disease_labels([("I48", found)], IMAGING, end=found + timedelta(days=end))
    assert labels["af_years"] == pytest.approx((after + 1) / 365.25)
