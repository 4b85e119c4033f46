"""Labels from outside: what a declaration may say, what a table then gives, and the shipped ones as they were."""

from __future__ import annotations

import importlib.util
import math
import sys

import pytest
from small_raw import IDS, prepare, report_in, write_ecgs

from ecgcmr.errors import UserError
from ecgcmr.label_declarations import DeclaredLabel, load_labels
from ecgcmr.phenotypes import phenotypes
from ecgcmr.shards import ShardIndex, read_labels

LABELS = """
ejection: {column: "EF [%]", unit: "%", range: [5, 90], group: LV, title: Ejection fraction}
systolic: {column: 4080, unit: mmHg, range: [60, 260]}
smoker: {kind: yes/no, column: Smoking, positive: [current, former], negative: [never]}
rhythm: {kind: one of several, classes: [sinus, atrial flutter, 3]}
stroke: {kind: event with time, time: follow_up, time_unit: days}
ill: {kind: yes/no, group: disease}
heart_age: {unit: years, covariate: true}
"""
COLUMNS = "eid,EF [%],4080-2.0,smoking,rhythm,stroke,follow_up,ill,heart_age,lv_edv,shoe_size"
ROWS = ("55.5,120,Never,SINUS,yes,365.25,1,50,120,40", "400,130,former,atrial flutter,no,730.5,0,60,,", "x,,,3.0,,,,,,")


@pytest.fixture
def call(tmp_path):
    """Prepare three recordings with a file of labels and a table; values by label."""

    def run(labels: str, columns: str = COLUMNS, rows=ROWS, *words: object) -> dict[str, list[float]]:
        if not (tmp_path / "raw").exists():
            write_ecgs(tmp_path / "raw", [f"{i}.xml" for i in IDS[:3]])
            (tmp_path / "key").write_bytes(bytes(32))
        (tmp_path / "labels.yaml").write_text(labels)
        lines = [f"{i},{row}" for i, row in zip(IDS, rows, strict=False)]
        (tmp_path / "t.csv").write_text("\n".join([columns, *lines]) + "\n")
        places = ("--ecg", tmp_path / "raw", "--out", tmp_path / "out", "--key-file", tmp_path / "key")
        assert prepare(*places, "--table", tmp_path / "t.csv", "--labels", tmp_path / "labels.yaml", *words) == 0
        index = ShardIndex.load(tmp_path / "out")
        values = read_labels(index, index.label_names, index.positions(None, ()))
        return dict(zip(index.label_names, values.T.tolist(), strict=True))

    return run


def test_each_kind_of_label_is_read(call, tmp_path, capsys):
    values = call(LABELS)
    assert list(values)[99:] == [
        *("ejection", "systolic", "smoker", "rhythm_sinus", "rhythm_atrial_flutter", "rhythm_3"),
        *("stroke", "stroke_years", "ill", "heart_age"),
    ]
    known = {name: sorted(v for v in column if not math.isnan(v)) for name, column in values.items()}
    assert known["ejection"] == [55.5]
    assert known["systolic"] == [120, 130]
    assert known["smoker"] == [0, 1]
    for name in ("rhythm_sinus", "rhythm_atrial_flutter", "rhythm_3"):
        assert known[name] == [0, 0, 1]
    assert known["stroke"] == [0, 1]
    assert known["stroke_years"] == [1, 2]
    kinds = {label.name: label.kind for label in ShardIndex.load(tmp_path / "out").layout.labels}
    assert [
        kinds[name] for name in ("ejection", "smoker", "rhythm_3", "stroke", "stroke_years", "ill", "heart_age")
    ] == [*("phenotype", "finding", "finding", "disease", "time", "disease", "covariate")]
    report = report_in(tmp_path / "out")
    assert report["phenotypes_out_of_range"] == {"ejection": 1}
    assert report["values_unreadable"] == {"ejection": 1}
    assert report["tables"][0]["columns_unread"] == ["shoe_size"]
    errors = capsys.readouterr().err
    assert "1 implausible values taken as missing: ejection 1" in errors
    assert "1 columns not read: shoe_size" in errors


def test_what_is_empty_and_what_is_none_of_the_classes(call, tmp_path):
    rows = ["na,12", "x,nan", "B,5"]
    values = call("a: {kind: one of several, classes: [b, c]}\nage2: {}", "eid,a,age2", rows)
    assert sorted(map(str, values["a_b"])) == ["1.0", "nan", "nan"]
    assert sorted(map(str, values["age2"])) == ["12.0", "5.0", "nan"]
    assert report_in(tmp_path / "out")["phenotypes_out_of_range"] == {"a": 1}


def test_other_labels_over_a_prepared_folder_compute_no_recording_again(call, tmp_path, monkeypatch):
    call("smoker: {kind: yes/no, positive: [current, former], negative: [never], column: smoking}")
    monkeypatch.setattr("ecgcmr.preparation.rows.read_ecg", None)  # would be called if it did
    assert "stroke_years" in call(LABELS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "list of labels must hold 'key: value' entries"),
        ("[a]", "must hold 'key: value' entries, found a list"),
        ("{}", "declares no label"),
        ("no: {}", "False is no name of a label"),
        ("1: {}", "1 is no name of a label"),
        ("'my label': {}", "'my label' is no name of a label"),
        ("'a\\e[31m': {}", "is no name of a label"),
        ("a: 5", "a: must hold 'key: value' entries"),
        ("a: {kind: numbr}", "a: kind 'numbr' is unknown; did you mean 'number'? choose one of"),
        ("a: {kind: yes}", "a: kind 'True' is unknown"),
        ("a: {unti: mL}", "a: a label of kind number has no key 'unti'; did you mean unit?"),
        ("a: {kind: yes/no, range: [0, 1]}", "a: a label of kind yes/no has no key 'range'"),
        ("a: {range: 5}", "a: its range must be two numbers"),
        ("a: {range: [a, b]}", "a: its range must be two numbers"),
        ("a: {range: [9, 1]}", "a: its range [9, 1] is empty"),
        ("a: {range: [.nan, 1]}", "is empty"),
        ("a: {unit: 5}", "a: its unit is no text"),
        ("a: {unit: [mL]}", "a: its unit is no text"),
        ("a: {column: [x]}", "a: its column is no name"),
        ("a: {column: true}", "a: its column is no name"),
        ("a: {covariate: maybe}", "a: its covariate must be true or false"),
        ("a: {kind: one of several}", "a: needs its classes"),
        ("a: {kind: one of several, classes: [x]}", "a: needs its classes"),
        ("a: {kind: one of several, classes: [x, X]}", "an empty text or one twice"),
        ("a: {kind: one of several, classes: [x y, x-y]}", "a: its classes give no different names"),
        ("a: {kind: one of several, classes: [yes, no]}", "put yes, no, true and false in quotes"),
        ("a: {kind: one of several, classes: x}", "must be a list"),
        ("a: {kind: one of several, classes: [None, mild]}", "hold 'None', which tables have for an empty cell"),
        ("a: {kind: one of several, classes: [null, mild]}", "its classes must be texts or numbers"),
        ("a: {kind: yes/no, positive: [x]}", "a: give both positive and negative"),
        ("a: {kind: yes/no, positive: [x], negative: [X]}", "a: a text is both positive and negative"),
        ("a: {kind: event with time, time_unit: weeks}", "a: time_unit 'weeks' is unknown"),
        ("a: {kind: event with time, covariate: true}", "a: an event is no covariate"),
        ("a: {}\na: {}", "'a' is given twice"),
        ("a: !!python/object/apply:os.system [ls]", "cannot be read as YAML"),
        ("a: &x [*x]", "labels.yaml: "),
        ("a: {title: " + "x" * 300 + "}", "a: its title is no text of at most 200"),
    ],
)
def test_an_impossible_declaration_is_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_labels(path)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("labels.yaml: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("labels", "columns", "reason"),
    [
        ("lv_edv: {}", "eid,lv_edv", "labels.yaml: label lv_edv would stand for two things"),
        ("heart_rate: {}", "eid,heart_rate", "labels.yaml: label heart_rate would stand for two things"),
        ("a: {kind: event with time}\na_years: {}", "eid,a,a_years", "label a_years would stand for two things"),
        (
            "smoker: {kind: yes/no}",
            "eid,age,smokr",
            "--labels: smoker: no table has the column smoker (did you mean smokr?)",
        ),
        ("sbp: {column: 4080}", "eid,age", "--labels: sbp: no table has the column 4080"),
        ("edv: {unit: mL}", "eid,EDV (L)", "t.csv: column EDV (L) is in L, and label edv is declared in mL"),
        ("edv: {}", "eid,edv [mL]", "t.csv: column edv [mL] is in mL, and label edv is declared without a unit"),
        ("e: {kind: event with time, time: t}", "eid,e,t (days)", "column t (days) is in days, and label e_years is"),
        (
            "edv: {unit: mL}",
            "eid,lv_edv [L],edv",
            "t.csv: column lv_edv [L] is in L, and label lv_edv is declared in mL",
        ),
    ],
)
def test_a_declaration_that_does_not_fit_the_tables_is_refused(call, tmp_path, labels, columns, reason):
    with pytest.raises(UserError) as caught:
        call(labels, columns, ["1,1,1"[: 2 * columns.count(",") - 1]])
    assert reason in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "columns", "rows", "reason"),
    [
        ("a: {range: [5, 90]}", "eid,a", ["0.5", "0.6", ""], "t.csv: column a: none of its 2 values is from 5 to 90"),
        (
            "a: {}",
            "eid,a",
            ["big", "small", "na"],
            "t.csv: column a: none of its 2 values is a number; a decimal comma",
        ),
        ("a: {column: 4080, range: [60, 260]}", "eid,4080-2.0", ["1", "2", "3"], "t.csv: column 4080: none of its 3"),
        ("a: {kind: yes/no}", "eid,a", ["Ja", "Nein", "Ja"], "none of its 3 values is one of the declared words"),
        ("a: {kind: one of several, classes: [x, y]}", "eid,a", ["z", "z", ""], "none of its 2 values is one of"),
        (
            "a: {kind: event with time, time: t}",
            "eid,a,t",
            ["yes,soon", "no,late", "no,"],
            "column t: none of its 2 values is a number",
        ),
    ],
)
def test_a_declared_label_without_a_usable_value_is_refused(call, tmp_path, labels, columns, rows, reason):
    with pytest.raises(UserError) as caught:
        call(labels, columns, rows)
    assert reason in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_declared_label_that_nobody_has_is_remarked_on(call, tmp_path, capsys):
    call("a: {}\nb: {kind: one of several, classes: [x, y]}", "eid,a,b,age", ["na,,50", ",NA,60", ",,70"])
    assert "note: --labels: nobody has a value of a, b" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["EDV [ml]", "edv (mL)", "EDV", "edv [ mL ]"])
def test_a_header_may_state_the_declared_unit(call, header):
    assert sorted(call("edv: {unit: mL}", f"eid,{header}", ["100", "200", "300"])["edv"]) == [100, 200, 300]


def test_what_stands_in_brackets_and_is_no_unit_belongs_to_the_name(call):
    values = call("a: {column: Age (at scan), unit: years}", "eid,Age (at scan)", ["50", "60", "70"])
    assert sorted(values["a"]) == [50, 60, 70]


def test_labels_without_a_table_are_refused(tmp_path):
    write_ecgs(tmp_path / "raw", ["1.xml"])
    (tmp_path / "labels.yaml").write_text("a: {}")
    with pytest.raises(UserError, match="--labels: goes with --table"):
        prepare("--ecg", tmp_path / "raw", "--labels", tmp_path / "labels.yaml", "--out", tmp_path / "out")


def test_a_declaration_in_code_is_checked_like_one_in_a_file():
    with pytest.raises(UserError, match=r"a: needs its classes"):
        DeclaredLabel("a", "one of several")
    with pytest.raises(UserError, match=r"a: kind 'numbers' is unknown"):
        DeclaredLabel("a", "numbers")
    with pytest.raises(UserError, match=r"a: a label of kind number has no classes"):
        DeclaredLabel("a", classes=("x", "y"))
    with pytest.raises(UserError, match=r"a: a label of kind yes/no has no range"):
        DeclaredLabel("a", "yes/no", high=3)


def frozen_phenotypes() -> list[tuple[str, str, float, float, str, str]]:
    """Name, unit, least, most, group and title of fields 24100 to 24181, as they were when they stood in code."""
    rows = [
        ("lv_edv", "mL", 40, 500, "LV", "LV end-diastolic volume"),
        ("lv_esv", "mL", 5, 450, "LV", "LV end-systolic volume"),
        ("lv_sv", "mL", 10, 250, "LV", "LV stroke volume"),
        ("lv_ef", "%", 5, 90, "LV", "LV ejection fraction"),
        ("lv_co", "L/min", 0.5, 20, "LV", "LV cardiac output"),
        ("lv_mass", "g", 20, 400, "LV", "LV myocardial mass"),
        ("rv_edv", "mL", 40, 500, "RV", "RV end-diastolic volume"),
        ("rv_esv", "mL", 5, 450, "RV", "RV end-systolic volume"),
        ("rv_sv", "mL", 10, 250, "RV", "RV stroke volume"),
        ("rv_ef", "%", 5, 90, "RV", "RV ejection fraction"),
    ]
    for side in ("la", "ra"):
        chamber = side.upper()
        rows += [
            (f"{side}_max_volume", "mL", 5, 300, chamber, f"{chamber} maximum volume"),
            (f"{side}_min_volume", "mL", 1, 280, chamber, f"{chamber} minimum volume"),
            (f"{side}_sv", "mL", 1, 150, chamber, f"{chamber} stroke volume"),
            (f"{side}_ef", "%", 1, 95, chamber, f"{chamber} ejection fraction"),
        ]
    for part, title in (("asc_aorta", "Ascending aorta"), ("desc_aorta", "Descending aorta")):
        rows += [
            (f"{part}_max_area", "mm2", 100, 3000, "aorta", f"{title} maximum area"),
            (f"{part}_min_area", "mm2", 80, 2800, "aorta", f"{title} minimum area"),
            (f"{part}_distensibility", "1e-3/mmHg", 0.01, 15, "aorta", f"{title} distensibility"),
        ]
    for stem, unit, low, high, group, title in (
        ("wt", "mm", 2, 25, "WT", "Wall thickness"),
        ("ecc", "%", -50, 10, "Ecc", "Circumferential strain"),
        ("err", "%", -20, 150, "Err", "Radial strain"),
    ):
        rows += [(f"{stem}_aha_{k}", unit, low, high, group, f"{title}, AHA segment {k}") for k in range(1, 17)]
        rows.append((f"{stem}_global", unit, low, high, group, f"{title}, global"))
    rows += [(f"ell_{k}", "%", -50, 15, "Ell", f"Longitudinal strain, segment {k}") for k in range(1, 7)]
    rows.append(("ell_global", "%", -50, 15, "Ell", "Longitudinal strain, global"))
    return rows


def test_the_shipped_phenotypes_are_what_they_were():
    shipped = [(p.name, p.unit, p.low, p.high, p.group, p.title) for p in phenotypes()]
    assert shipped == frozen_phenotypes()
    assert [p.column for p in phenotypes()] == list(range(24100, 24182))
    assert {p.kind for p in phenotypes()} == {"number"}


@pytest.mark.parametrize("name", ["preparation.labels", "synthesis.measurement", "inspection.raw_table"])
def test_importing_what_uses_the_phenotypes_reads_no_file(name, monkeypatch):
    spec = importlib.util.find_spec(f"ecgcmr.{name}")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, f"ecgcmr.{name}", module)
    phenotypes.cache_clear()
    spec.loader.exec_module(module)
    assert phenotypes.cache_info().currsize == 0
