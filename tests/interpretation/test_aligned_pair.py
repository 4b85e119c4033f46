"""The pair of an alignment: loaded from its run folder as it was trained, refused where it is none, and randomised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_cases import CASES, batch_for, build
from torch.nn import functional as F

from ecgcmr.encoders import export_encoder
from ecgcmr.errors import UserError
from ecgcmr.interpretation.pair import AlignedPair, load_pair, networks, random_pair
from ecgcmr.interpretation.randomised import randomised_layers
from ecgcmr.objectives.projection import projection_head

ECG, CMR = "vit-mean", "resnet-basic"


def _write(folder: Path, *, layers: int = 2, norm: bool = False) -> AlignedPair:
    """Write the run folder of an alignment with random weights, and return its pair."""
    encoders = [build(ECG), build(CMR)]
    torch.manual_seed(3)
    heads = [projection_head(encoder.feature_dim, 12, 6, layers, norm).eval() for encoder in encoders]
    for case, encoder, place in ((ECG, encoders[0], folder), (CMR, encoders[1], folder / "cmr_encoder")):
        class_path, init_args = CASES[case]
        export_encoder(encoder, place, class_path=class_path, init_args=init_args)
    state = {f"ecg_projection.{name}": value for name, value in heads[0].state_dict().items()}
    state |= {f"cmr_projection.{name}": value for name, value in heads[1].state_dict().items()}
    for name, encoder in zip(("ecg", "cmr"), encoders, strict=True):
        state |= {f"{name}_encoder.{key}": value for key, value in encoder.state_dict().items()}
    torch.save({"state_dict": state}, folder / "best.ckpt")
    return AlignedPair(*encoders, *heads)


@pytest.mark.parametrize(("layers", "norm"), [(2, False), (1, False), (3, True)])
def test_a_pair_is_loaded_as_it_was_trained(tmp_path: Path, layers: int, norm: bool):
    written = _write(tmp_path, layers=layers, norm=norm)
    pair = load_pair(tmp_path)
    ecg, cmr = batch_for(pair.ecg_encoder, 3), batch_for(pair.cmr_encoder, 3)
    assert torch.equal(pair.ecg_embedding(ecg), written.ecg_embedding(ecg))
    assert torch.equal(pair.cmr_embedding(cmr), written.cmr_embedding(cmr))
    assert not any(parameter.requires_grad for network in networks(pair) for parameter in network.parameters())
    assert not any(network.training for network in networks(pair))


def test_places_are_local_features_under_the_head_of_the_feature(tmp_path: Path):
    pair = _write(tmp_path)
    ecg, cmr = batch_for(pair.ecg_encoder, 2), batch_for(pair.cmr_encoder, 2)
    places = pair.ecg_places(ecg)
    assert places.shape == (2, *pair.ecg_encoder.grid, 6)
    one = pair.ecg_encoder.local_features(ecg)[1, :, 3, 2]
    torch.testing.assert_close(places[1, 3, 2], F.normalize(pair.ecg_projection(one), dim=0))
    assert pair.cmr_places(cmr).shape == (2, 1, 2, 2, 6)
    torch.testing.assert_close(places.norm(dim=-1), torch.ones(places.shape[:-1]))


def _no_images(folder: Path) -> None:
    (folder / "cmr_encoder" / "encoder.yaml").unlink()


def _no_checkpoint(folder: Path) -> None:
    (folder / "best.ckpt").unlink()


def _no_state(folder: Path) -> None:
    torch.save([1, 2], folder / "best.ckpt")


def _no_heads(folder: Path) -> None:
    loaded = torch.load(folder / "best.ckpt", weights_only=True)
    state = {name: value for name, value in loaded["state_dict"].items() if "projection" not in name}
    torch.save({"state_dict": state}, folder / "best.ckpt")


def _other_names(folder: Path) -> None:
    loaded = torch.load(folder / "best.ckpt", weights_only=True)
    loaded["state_dict"]["ecg_projection.9.weight"] = torch.zeros(3)
    torch.save(loaded, folder / "best.ckpt")


def _of_another_run(folder: Path) -> None:
    loaded = torch.load(folder / "best.ckpt", weights_only=True)
    name = next(name for name in loaded["state_dict"] if name.startswith("cmr_encoder."))
    loaded["state_dict"][name] = loaded["state_dict"][name] + 1e-3
    torch.save(loaded, folder / "best.ckpt")


def _diverged(folder: Path) -> None:
    loaded = torch.load(folder / "best.ckpt", weights_only=True)
    loaded["state_dict"]["cmr_projection.0.weight"][0, 0] = float("nan")
    torch.save(loaded, folder / "best.ckpt")


def _without_an_encoder(folder: Path) -> None:
    loaded = torch.load(folder / "best.ckpt", weights_only=True)
    state = {name: value for name, value in loaded["state_dict"].items() if not name.startswith("ecg_encoder.")}
    torch.save({"state_dict": state}, folder / "best.ckpt")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_images, "give the run folder of a finished alignment"),
        (_no_checkpoint, "no such file"),
        (_no_state, "holds no state_dict"),
        (_no_heads, "has no ecg_projection"),
        (
            _of_another_run,
            r"cmr_encoder\.\* differs from .*; the file is of another run",
        ),
        (_without_an_encoder, r"ecg_encoder\.\* differs from the encoder"),
        (_diverged, "best.ckpt: .*0.weight"),
        (_other_names, "is not a projection head"),
    ],
)
def test_a_folder_that_is_no_alignments_is_refused_in_one_line(tmp_path: Path, spoil, words: str):
    _write(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=words) as refused:
        load_pair(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_random_pair_is_another_one_and_the_same_for_an_equal_seed(tmp_path: Path):
    pair = _write(tmp_path, layers=3, norm=True)
    pair.ecg_projection[1].running_mean.fill_(5.0)
    state = torch.random.get_rng_state()
    first, again, other = (random_pair(pair, np.random.default_rng(seed)) for seed in (0, 0, 1))
    ecg = batch_for(pair.ecg_encoder, 2)
    assert torch.equal(first.ecg_embedding(ecg), again.ecg_embedding(ecg))
    assert not torch.allclose(first.ecg_embedding(ecg), other.ecg_embedding(ecg))
    assert not torch.allclose(first.ecg_embedding(ecg), pair.ecg_embedding(ecg))
    assert float(first.ecg_projection[1].running_mean.abs().max()) == 0.0
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("case", ["vit-cls", "resnet-basic", "ecg-s4", "resnet-per-frame"])
def test_layers_are_randomised_from_the_top_down(case: str):
    encoder = build(case)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    layers = []
    for lowest, randomised in randomised_layers(encoder, np.random.default_rng(0)):
        layers.append(lowest)
        for name, parameter in randomised.named_parameters():
            changed = not torch.equal(parameter, before[name])
            assert not changed or encoder.layer_of(name) >= lowest
        matrices = [
            not torch.equal(parameter, before[name])
            for name, parameter in randomised.named_parameters()
            if parameter.ndim > 1 and encoder.layer_of(name) >= lowest and parameter.std() > 0
        ]
        assert all(matrices)
    assert layers == sorted(layers, reverse=True)
    assert layers[-1] == 0
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
