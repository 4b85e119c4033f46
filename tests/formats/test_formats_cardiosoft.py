from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_file_writers import LEADS, RESOLUTION_UV, SECRET_NAME, cardiosoft_xml, sample_counts, waveform_text

from ecgcmr.errors import UserError
from ecgcmr.formats import read_ecg
from ecgcmr.formats.cardiosoft import parse_cardiosoft, parse_samples


def test_signal_is_converter_steps_times_resolution_in_millivolts():
    counts = sample_counts(1)
    record = parse_cardiosoft(cardiosoft_xml(counts))
    assert record.leads == LEADS
    assert record.sampling_rate == 500
    np.testing.assert_allclose(record.signal, counts * RESOLUTION_UV / 1000)


def test_leads_are_known_by_attribute_whatever_order_and_case():
    counts = sample_counts(2)
    order = [11, 3, 0, 5, 1, 2, 4, 6, 7, 10, 9, 8]
    names = tuple(LEADS[i].upper() if i % 2 else LEADS[i].lower() for i in order)
    record = parse_cardiosoft(cardiosoft_xml(counts[order], leads=names))
    assert record.leads == tuple(LEADS[i] for i in order)
    np.testing.assert_allclose(record.signal[record.leads.index("aVR")], counts[3] * RESOLUTION_UV / 1000)


def test_median_beats_are_not_taken_for_the_strip():
    assert parse_cardiosoft(cardiosoft_xml()).signal.shape == (12, 5000)


def test_empty_tokens_are_missing_samples_and_noted():
    counts = sample_counts(3)
    tokens = [str(value) for value in counts[7]]
    tokens[10] = tokens[4999] = ""
    record = parse_cardiosoft(cardiosoft_xml(counts, texts={"V2": ",".join(tokens)}))
    assert np.flatnonzero(np.isnan(record.signal[7])).tolist() == [10, 4999]
    assert any("V2 lacks 2" in note for note in record.notes)


def test_comma_after_the_last_sample_is_no_sample():
    counts = sample_counts(3)
    record = parse_cardiosoft(cardiosoft_xml(counts, texts={"V2": waveform_text(counts[7]) + ",\n"}))
    assert record.signal.shape == (12, 5000)
    assert not np.isnan(record.signal).any()


def test_empty_lead_counts_as_absent():
    record = parse_cardiosoft(cardiosoft_xml(texts={"III": "\n\t", "aVL": ",,,"}))
    assert "III" not in record.leads
    assert "aVL" not in record.leads
    assert len(record.leads) == 10


def test_flat_lead_and_poor_quality_are_noted():
    counts = sample_counts()
    counts[8] = 7
    record = parse_cardiosoft(cardiosoft_xml(counts, diagnosis="*** Poor data quality, interpretation may be wrong"))
    assert "lead V3 is flat" in record.notes
    assert "the device reports poor data quality" in record.notes


def test_nothing_of_the_person_is_kept():
    record = parse_cardiosoft(cardiosoft_xml())
    assert SECRET_NAME not in repr(record)
    assert "1000011" not in repr(record)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"   \n", "empty"),
        (cardiosoft_xml()[:20_000], "not well-formed"),
        (cardiosoft_xml(strip=False), "no StripData"),
        (b"<Other/>", "is XML of kind Other; known are CardiologyXML (GE CardioSoft XML), RestingECG (GE MUSE XML)"),
        (cardiosoft_xml(units="mV"), "expected uvperlsb"),
        (cardiosoft_xml().replace(b">500</SampleRate>\n<Channel", b"></SampleRate>\n<Channel"), "SampleRate"),
        (cardiosoft_xml(texts={"V1": "1,2,x,4"}), "lead V1"),
        (cardiosoft_xml(texts={"V1": "1,2,3"}), "differ in length"),
        (cardiosoft_xml(leads=("I", "I", *LEADS[2:])), "twice"),
        (cardiosoft_xml(texts=dict.fromkeys(LEADS, "")), "no waveform"),
        (cardiosoft_xml(doctype='<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'), "document type"),
    ],
)
def test_defects_are_told_in_one_line_with_the_file_name(tmp_path, content, reason):
    path = tmp_path / "1000011_20205_2_0.xml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_ecg(path)
    message = str(caught.value)
    assert message.startswith("1000011_20205_2_0.xml: ")
    assert reason in message
    assert "\n" not in message
    assert SECRET_NAME not in message
    assert str(tmp_path) not in message


def test_unstated_unit_is_assumed_and_noted():
    record = parse_cardiosoft(cardiosoft_xml().replace(b' units="uVperLsb"', b""))
    np.testing.assert_allclose(record.signal, sample_counts() * RESOLUTION_UV / 1000)
    assert any("uvperlsb assumed" in note for note in record.notes)


def test_file_without_declared_encoding_is_read_as_latin_1():
    content = cardiosoft_xml().replace(b'<?xml version="1.0" encoding="ISO-8859-1"?>', b"")
    assert parse_cardiosoft(content).signal.shape == (12, 5000)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-32768, 32767)), min_size=1, max_size=40))
def test_samples_survive_any_pattern_of_gaps(values):
    text = ",\n\t".join("" if value is None else str(value) for value in values)
    parsed = parse_samples(text, len(values), "I")
    if all(value is None for value in values) and len(values) == 1:
        assert parsed.size == 0
        return
    expected = np.array([np.nan if value is None else value for value in values], dtype=float)
    np.testing.assert_array_equal(parsed, expected)
