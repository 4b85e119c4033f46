"""Published encoders in every stage that takes them, on ECGs as they were measured; what does not fit is one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured_cohort import write_measured
from tiny_configs import CMR_ENCODER, write_config

from ecgcmr.cli import main
from ecgcmr.encoders import MaskableEncoder, load_encoder, require_encoder
from ecgcmr.encoders.published import PublishedECG, published_encoders
from ecgcmr.encoders.published.published_ecg import build_network
from ecgcmr.errors import UserError
from ecgcmr.experiments.features import encoder_features
from ecgcmr.leads import LEADS
from ecgcmr.shards import ShardIndex
from ecgcmr.stages.preparation_check import check_as_measured
from ecgcmr.stages.transfer import check_shape

ENTRIES = published_encoders()
FAST = {"ecgfounder", "st-mem", "hubert-ecg-base", "ecg-cpc"}
NAMES = [pytest.param(name, marks=() if name in FAST else pytest.mark.long) for name in ENTRIES]
QUICK = ["--trainer.fast_dev_run=true", "--trainer.logger=false"]
AUGMENTED = {
    "class_path": "ecgcmr.stages.views.AugmentedViews",
    "init_args": {"augmentation": {"class_path": "ecgcmr.augmentations.ECGAugmentation"}},
}


def prepared(name: str, **more: Any) -> dict[str, Any]:
    arguments = {"name": name, "sizes": dict(ENTRIES[name].small), **more}
    return {"class_path": "ecgcmr.encoders.published.PublishedECG", "init_args": arguments}


def samples_of(encoder: dict[str, Any]) -> int:
    return PublishedECG(**encoder["init_args"]).input_spec.samples


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_measured(tmp_path_factory.mktemp("measured") / "cohort")


def regression(folder: Path, root: Path, encoder: dict[str, Any], **data: Any) -> Path:
    given = {"samples": samples_of(encoder), "labels": ["lv_edv"], **data}
    return write_config(
        folder / "reg.yaml", "PhenotypeRegression", {"encoder": encoder}, "LabelledDataModule", root, **given
    )


def refused(config: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(["fit", "-c", str(config), *QUICK, *more]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_a_step_downstream(name: str, tmp_path: Path, measured: Path) -> None:
    assert main(["fit", "-c", str(regression(tmp_path, measured, prepared(name))), *QUICK]) == 0


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.long) for name in ENTRIES])
def test_each_trains_a_step_of_contrast_and_of_alignment(name: str, tmp_path: Path, measured: Path) -> None:
    encoder = prepared(name)
    samples, head = samples_of(encoder), {"projection_hidden": 16, "projection_size": 8}
    arguments = {"encoder": encoder, "views": AUGMENTED, **head}
    one = write_config(tmp_path / "one.yaml", "UnimodalContrast", arguments, "ECGDataModule", measured, samples=samples)
    assert main(["fit", "-c", str(one), *QUICK]) == 0
    images = {**CMR_ENCODER, "init_args": {**CMR_ENCODER["init_args"], "height": 32, "width": 32}}
    both = {"ecg_encoder": encoder, "cmr_encoder": images, **head}
    pair = write_config(tmp_path / "two.yaml", "ECGCMRAlignment", both, "PairedDataModule", measured, samples=samples)
    assert main(["fit", "-c", str(pair), *QUICK]) == 0


@pytest.mark.parametrize("name", ENTRIES)
def test_the_bare_network_fits_a_masked_autoencoder_or_the_line_says_why_not(name: str) -> None:
    entry = ENTRIES[name]
    network = build_network(entry, {**entry.init_args, **entry.small})
    if entry.masked is None:
        assert require_encoder(network, MaskableEncoder) is network
        return
    with pytest.raises(UserError) as raised:
        require_encoder(network, MaskableEncoder)
    assert str(raised.value).startswith(f"{type(network).__name__} is not an encoder for masked autoencoding: it lacks")
    assert len(str(raised.value).splitlines()) == len(entry.masked.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["st-mem", *(pytest.param(name, marks=pytest.mark.long) for name in ("merl-vit-tiny", "ecg-jepa"))]
)
def test_those_that_fit_train_a_step_of_masking(name: str, tmp_path: Path, measured: Path) -> None:
    """On their own input, which a cohort then has to be: here as if it were."""
    entry = ENTRIES[name]
    network: Any = build_network(entry, {**entry.init_args, **entry.small})
    spec = network.input_spec
    encoder = {"class_path": entry.class_path, "init_args": {**entry.init_args, **entry.small, "sampling_rate": 500.0}}
    rows = spec.lead_rows or range(spec.leads)
    data = {"samples": spec.samples, "leads": [LEADS[row] for row in rows]}
    arguments = {"encoder": encoder, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    config = write_config(tmp_path / "mae.yaml", "ECGMaskedAutoencoder", arguments, "ECGDataModule", measured, **data)
    assert main(["fit", "-c", str(config), *QUICK]) == 0


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_measured(tmp_path_factory.mktemp("cleaned") / "cohort", cleaning="published")


@pytest.fixture(scope="module")
def other_rate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_measured(tmp_path_factory.mktemp("rate") / "cohort", sampling_rate=250.0)


@pytest.mark.parametrize("name", ENTRIES)
def test_what_does_not_fit_is_refused_with_what_mends_it(name: str, cleaned: Path) -> None:
    encoder = PublishedECG(**prepared(name)["init_args"])
    samples = encoder.input_spec.samples
    given = {"leads": 12, "sampling_rate": 500.0, "samples": samples}

    def refused_as(message: str, **other: Any) -> None:
        with pytest.raises(UserError, match=message):
            check_shape(encoder, {**given, **other}, "ecg", "model.encoder", "the data gives")

    check_shape(encoder, given, "ecg", "model.encoder", "the data gives")
    order = "I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
    refused_as(rf"\(--data.leads \[{order}\]\)$", lead_rows=(1, 0, *range(2, 12)))
    refused_as("takes leads 12, lead_rows", leads=2, lead_rows=(0, 1))
    refused_as(rf"\(--data.samples {samples}\)$", samples=120)
    refused_as(r"\(--model.encoder.init_args.sampling_rate 250\)$", sampling_rate=250.0)
    specification, layout = dataclasses.asdict(encoder.input_spec), ShardIndex.load(cleaned).layout
    with pytest.raises(UserError, match="'ecgcmr prepare ... --cleaning none'"):
        check_as_measured(specification, layout, "model.encoder")


def test_the_command_line_refuses_in_one_line(
    tmp_path: Path, measured: Path, cleaned: Path, other_rate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = regression(tmp_path, measured, prepared("ecg-cpc"))
    line = refused(config, capsys, f"--data.root={cleaned}")
    assert "model.encoder takes ECGs in mV as they were measured and prepares them itself" in line
    assert "this cohort's are in z-score and were cleaned (fill, clip, als, zscore)" in line
    assert "prepare it with 'ecgcmr prepare ... --cleaning none'" in line
    line = refused(config, capsys, f"--data.root={other_rate}")
    assert line.endswith("(--model.encoder.init_args.sampling_rate 250)")
    arguments = {"encoder": prepared("st-mem"), "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    config = write_config(
        tmp_path / "mae.yaml", "ECGMaskedAutoencoder", arguments, "ECGDataModule", measured, samples=1500
    )
    assert "PublishedECG is not an encoder for masked autoencoding: it lacks" in refused(config, capsys)


def test_a_cohort_of_twelve_leads_in_another_order_is_refused_until_they_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve are not yet the standard twelve: MIMIC-IV-ECG has aVF before aVL."""
    swapped = write_measured(tmp_path / "swapped", leads=(*LEADS[:4], "aVF", "aVL", *LEADS[6:]))
    config = regression(tmp_path, swapped, prepared("st-mem"))
    order = f"[{','.join(LEADS)}]"
    assert refused(config, capsys).endswith(f"(--data.leads {order})")
    assert main(["fit", "-c", str(config), *QUICK, f"--data.leads={order}"]) == 0


@pytest.mark.parametrize("name", ["st-mem", "merl-vit-tiny", "hubert-ecg-base", "ecg-fm", "ecg-jepa"])
def test_windows_that_do_not_become_the_input_are_refused_when_it_is_built(name: str) -> None:
    arguments = prepared(name)["init_args"]
    needed = PublishedECG(**arguments).input_spec.samples
    with pytest.raises(UserError, match=f"{name}: .*(set samples: {needed}|too short for pieces|too few to filter)"):
        PublishedECG(**arguments, samples=needed - 250)


def test_what_is_accepted_is_said(tmp_path: Path, cleaned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = regression(tmp_path, cleaned, prepared("ecgfounder"))
    assert main(["fit", "-c", str(config), *QUICK, "--accept_other_preparation=true"]) == 0
    assert "were cleaned (fill, clip, als, zscore); accepted by --accept_other_pre" in capsys.readouterr().err


def test_a_trained_one_goes_on_to_probes_and_another_rate(
    tmp_path: Path, measured: Path, cleaned: Path, other_rate: Path
) -> None:
    config = regression(tmp_path, measured, prepared("ecg-fm", samples=1500, pieces=3))
    assert main(["fit", "-c", str(config), "--trainer.max_epochs=1", "--trainer.logger=false"]) == 0
    run = config.with_suffix("")
    index = ShardIndex.load(measured)
    rows = index.positions("test", ("ecg",))
    features = encoder_features(run, index, rows, tmp_path / "features")
    assert features.shape == (len(rows), 16)
    assert np.isfinite(features).all()
    other = ShardIndex.load(cleaned)
    with pytest.raises(UserError, match="--cleaning none"):
        encoder_features(run, other, other.positions("test", ("ecg",)), tmp_path / "more")
    again = regression(tmp_path, other_rate, prepared("ecg-fm", samples=750, sampling_rate=250.0, pieces=3))
    options = [f"--model.encoder_weights={run}", "--model.adapt_encoder_weights=true"]
    assert main(["fit", "-c", str(again), *QUICK, *options, "--accept_other_preparation=true"]) == 0
    card: Any = load_encoder(run)
    assert card.input_spec.preparation[1] == "500 Hz (linear)"
    assert json.loads((run / "metrics.json").read_text())["fit"]["val/loss"] > 0
