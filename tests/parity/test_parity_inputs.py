"""How the published encoders' inputs are made, against vectors of their authors' steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_vectors import EncoderVectors, vector_files, vectors_folder

from ecgcmr.encoders.published import inputs
from ecgcmr.encoders.published.adapter import InputAdapter, PublishedInput
from ecgcmr.encoders.published.input_steps import Cut, PickLeads, Shape, Step

FILES = vector_files("preprocess_seed*.npz")
each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)

GIVEN = {
    "ecgfounder": (inputs.ECGFOUNDER, "raw", 500.0, (None, None, None, "filtered", "zscore")),
    "st_mem": (inputs.ST_MEM, "raw", 500.0, ("resampled_250", "highpassed", "lowpassed", "standardized")),
    "ecg_fm": (inputs.ECG_FM, "raw_400", 400.0, ("resampled_500", "standardized")),
    "ecg_jepa": (inputs.ECG_JEPA, "raw_500", 500.0, ("resampled_250",)),
    "ecg_cpc": (inputs.ECG_CPC, "raw_500", 500.0, ("resampled_240",)),
}
"""Of a few leads: the array that is given, its rate, and the array of what comes out of each step."""


def of_few_leads(published: PublishedInput) -> list[Step]:
    """The steps without the choice of leads, and of the piece, which the vectors leave out."""
    return [step for step in published.steps if not isinstance(step, PickLeads | Cut)]


def test_the_folder_is_there() -> None:
    if vectors_folder() is None:
        pytest.skip("ECGCMR_ENCODER_VECTORS is not set and shared/encoders/ is not beside the checkout")
    assert FILES


@each
@pytest.mark.parametrize("name", GIVEN)
def test_each_step(name: str, path: Path) -> None:
    published, raw, rate, results = GIVEN[name]
    with EncoderVectors(path) as golden:
        values = torch.from_numpy(golden[f"{name}/{raw}"].astype(np.float64))
        shape = Shape(*values.shape, rate)
        steps = of_few_leads(published)
        assert len(steps) == len(results)
        for step, result in zip(steps, results, strict=True):
            operation, shape = step.plan(shape)
            values = operation(values)
            if result is not None:
                golden.compare(f"{name}/{result}", values)


@each
def test_merl_on_twelve_leads(path: Path) -> None:
    with EncoderVectors(path) as golden:
        raw = torch.from_numpy(golden["merl/raw_standard_order"])
        make = InputAdapter(inputs.MERL.variant(samples=raw.shape[1]), raw.shape[1], 500.0)
        golden.compare("merl/model_input", make(raw[None])[0, 0])


@each
def test_hubert_ecg_on_twelve_leads(path: Path) -> None:
    with EncoderVectors(path) as golden:
        raw = torch.from_numpy(golden["hubert_ecg/raw_400"])
        make = InputAdapter(inputs.HUBERT_ECG, raw.shape[1], 400.0)
        golden.compare("hubert_ecg/model_input", make(raw[None]).flatten())
        values = raw.double()
        outputs = []
        for operation in make.operations:
            values = operation(values)
            outputs.append(values)
        golden.compare("hubert_ecg/filtered_lead0", outputs[1][0])
        golden.compare("hubert_ecg/preprocessed_500_leads0_1", outputs[3][:2])


@each
def test_every_array_is_looked_at(path: Path) -> None:
    tested = {f"{name}/{raw}" for name, (_, raw, _, _) in GIVEN.items()}
    tested |= {f"{name}/{result}" for name, (*_, results) in GIVEN.items() for result in results if result}
    tested |= {"merl/raw_standard_order", "merl/model_input", "hubert_ecg/raw_400", "hubert_ecg/filtered_lead0"}
    tested |= {"hubert_ecg/preprocessed_500_leads0_1", "hubert_ecg/model_input"}
    assert set(np.load(path).files) == tested
