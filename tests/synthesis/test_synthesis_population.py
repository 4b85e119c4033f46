"""Labels of a synthetic cohort: read from its raw tables they are what truly happened."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ecgcmr.preparation.label_columns import LabelCounts
from ecgcmr.preparation.label_table import IMAGING_VISIT, label_subjects, read_label_table
from ecgcmr.preparation.labels import label_schema
from ecgcmr.synthesis.events import CENSORING
from ecgcmr.synthesis.population import Population, draw_population
from ecgcmr.synthesis.raw_files import write_table

NAMES = [label.name for label in label_schema()]


@pytest.fixture(scope="module")
def population() -> Population:
    return draw_population(1500, 4)


@pytest.fixture(scope="module")
def raw(population: Population, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tables")
    write_table(folder / "phenotypes.csv", population.phenotypes)
    write_table(folder / "diagnoses.csv", population.diagnoses)
    return folder


def labels_of(folder, population: Population, censor_date=None) -> np.ndarray:
    ids = [str(eid) for eid in population.eids]
    tables = [read_label_table(folder / f"{name}.csv", ids) for name in ("phenotypes", "diagnoses")]
    counts = LabelCounts()
    labels = label_subjects(ids, tables, IMAGING_VISIT, counts, censor_date=censor_date)
    assert not counts.unreadable
    return labels


def test_raw_tables_give_the_labels_of_the_shards(raw, population: Population) -> None:
    np.testing.assert_array_equal(labels_of(raw, population), population.labels())


def test_with_the_true_day_of_censoring_labels_are_the_truth(raw, population: Population) -> None:
    labels = labels_of(raw, population, CENSORING)
    truth = population.events.labels()
    assert len(truth) == 12
    for name, values in truth.items():
        np.testing.assert_array_equal(labels[:, NAMES.index(name)], values.astype(np.float32), err_msg=name)


def test_without_it_the_latest_diagnosis_stands_in_for_it(raw, population: Population) -> None:
    labels = labels_of(raw, population)
    for name, values in population.events.labels().items():
        short = values - labels[:, NAMES.index(name)]
        np.testing.assert_array_equal(np.isnan(short), np.isnan(values), err_msg=name)
        assert (np.nan_to_num(short) > -1e-4).all()
        assert np.nanmax(short) < 7 / 365.25


@pytest.mark.slow
@pytest.mark.parametrize("joined", [False, True])
def test_every_form_of_the_diagnoses_gives_the_same_labels(raw, population: Population, tmp_path, joined) -> None:
    """The research platform's export: ``p41270`` joined or in arrays, ``p41280_a{i}``, ``p40000_i0`` and ``p191``."""
    table = population.diagnoses
    codes = [name for name in table if name.startswith("41270-")]
    dates = [name for name in table if name.startswith("41280-")]
    parts = [table["eid"]]
    if joined:
        parts.append(table[codes].apply(lambda row: "|".join(code for code in row if code), axis=1).rename("p41270"))
    else:
        parts.append(table[codes].rename(columns={name: f"p41270_a{i}" for i, name in enumerate(codes)}))
    parts.append(table[dates].rename(columns={name: f"p41280_a{i}" for i, name in enumerate(dates)}))
    parts.append(table[["40000-0.0", "191-0.0"]].rename(columns={"40000-0.0": "p40000_i0", "191-0.0": "p191"}))
    write_table(tmp_path / "diagnoses.csv", pd.concat(parts, axis=1))
    (tmp_path / "phenotypes.csv").write_bytes((raw / "phenotypes.csv").read_bytes())
    np.testing.assert_array_equal(labels_of(tmp_path, population), population.labels())
