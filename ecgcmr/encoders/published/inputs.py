"""What each published encoder sees, and how its authors make that: leads, rate, length, filters, scale.

Read in the published code; the golden vectors of the preparation check every step. Docs say where sources disagree.
"""

from __future__ import annotations

from ecgcmr.encoders.published.adapter import PublishedInput
from ecgcmr.encoders.published.input_steps import (
    Butterworth,
    Cut,
    Decimate,
    FiniteBand,
    MinusMedian,
    Notch,
    OneRow,
    PickLeads,
    Resample,
    Standardise,
    Stretch,
)
from ecgcmr.encoders.published.mimic_leads import MIMIC_ORDER
from ecgcmr.leads import LEADS

ECGFOUNDER_SCALED = PublishedInput(
    LEADS, 500.0, 5000, (PickLeads(LEADS), Resample(500.0), Standardise(floor=1e-8)), True
)
"""As the authors' script for PTB-XL has it: a z-score alone."""

ECGFOUNDER = PublishedInput(
    LEADS,
    500.0,
    5000,
    (
        PickLeads(LEADS),
        Resample(500.0),
        Notch(50.0, 30.0),
        Butterworth(4, 0.67, 40.0, sections=False),
        MinusMedian(0.4),
        Standardise(floor=1e-8),
    ),
    any_length=True,
)
"""As the authors' data set class has it, which their README says to follow."""

ST_MEM = PublishedInput(
    LEADS,
    250.0,
    2250,
    (
        PickLeads(LEADS),
        Resample(250.0),
        Cut(2250),
        Butterworth(5, 0.67, None),
        Butterworth(5, None, 40.0),
        Standardise(),
    ),
)

MERL = PublishedInput(
    MIMIC_ORDER, 500.0, 5000, (PickLeads(MIMIC_ORDER), Resample(500.0), Stretch("recording", 0.0, 1.0))
)

HUBERT_ECG = PublishedInput(
    LEADS,
    100.0,
    500,
    (
        PickLeads(LEADS),
        FiniteBand(0.05, 47.0, 0.3),
        Resample(500.0),
        Stretch("lead", -1.0, 1.0),
        Cut(2500),
        OneRow(),
        Decimate(5),
    ),
)
"""The network sees one row of 6,000 samples: the decimation runs across the borders of leads, as published."""

ECG_FM = PublishedInput(
    LEADS, 500.0, 2500, (PickLeads(LEADS), Resample(500.0, "linear"), Standardise("lead"), Cut(2500))
)

D_BETA = PublishedInput(LEADS, 500.0, 5000, (PickLeads(LEADS), Resample(500.0)), any_length=True)

ECG_JEPA_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
ECG_JEPA = PublishedInput(ECG_JEPA_LEADS, 250.0, 2500, (PickLeads(ECG_JEPA_LEADS), Resample(250.0)))

ECG_CPC = PublishedInput(LEADS, 240.0, 2400, (PickLeads(LEADS), Resample(240.0, "windowed sinc")), any_length=True)
