"""The published convolutional and state space networks, against vectors of their authors' code and their tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from encoder_vectors import (
    EncoderVectors,
    load_published,
    norm_tensors,
    read_json,
    vector_files,
    vectors_folder,
    weights_by_formula,
)
from torch import nn

from ecgcmr.encoders.published import ECGCPC, ECGFounder, MERLResNet, MERLZeroShot
from ecgcmr.encoders.published.ecg_cpc import ECG_CPC_NAMES
from ecgcmr.encoders.published.merl_resnet import MERL_RESNET_NAMES
from ecgcmr.encoders.published.merl_zero_shot import MERL_ZERO_SHOT_NAMES
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.net1d import ECGFOUNDER_NAMES
from ecgcmr.encoders.published.registry import published_encoders

MANIFEST = read_json("manifest.json")
MISSING = pytest.mark.skipif(vectors_folder() is None, reason="there are no golden vectors")


def founder(numbers: dict[str, Any], samples: int) -> ECGFounder:
    return ECGFounder(
        samples=samples,
        widths=numbers["filter_list"],
        depths=numbers["m_blocks_list"],
        base_width=numbers["base_filters"],
        group_width=numbers["groups_width"],
        kernel_size=numbers["kernel_size"],
    )


def merl(numbers: dict[str, Any], samples: int) -> MERLResNet:
    return MERLResNet(samples=samples, widths=numbers["widths"])


def cpc(numbers: dict[str, Any], samples: int) -> ECGCPC:
    return ECGCPC(
        samples=samples,
        width=numbers["model_dim"],
        depth=numbers["layers"],
        state_size=numbers["state_dim"],
        kernel_length=numbers["input_length"] // 2,
    )


class Network(NamedTuple):
    """A published network: how it is built of the manifest's numbers, and its names."""

    build: Callable[[dict[str, Any], int], Any]
    names: PublishedNames


NETWORKS = {
    "ecgfounder": Network(founder, ECGFOUNDER_NAMES),
    "merl_resnet18": Network(merl, MERL_RESNET_NAMES),
    "ecg_cpc": Network(cpc, ECG_CPC_NAMES),
}
SMALL = [(name, path) for name in NETWORKS for path in vector_files(f"{name}_seed*.npz")]


def loaded(name: str, golden: EncoderVectors, samples: int) -> tuple[Any, dict[str, str | None]]:
    network = NETWORKS[name].build(MANIFEST[name]["small_constructor"], samples).eval()
    weights = {array[2:]: torch.from_numpy(golden.arrays[array]) for array in golden.arrays if array.startswith("w/")}
    ours = NETWORKS[name].names.ours(weights)
    load_published(network, ours, weights)
    return network, ours


def test_the_folder_is_there() -> None:
    if vectors_folder() is None:
        pytest.skip("ECGCMR_ENCODER_VECTORS is not set and shared/encoders/ is not beside the checkout")
    assert {name for name, _ in SMALL} == set(NETWORKS)


@pytest.mark.parametrize(("name", "path"), SMALL, ids=lambda value: value.stem if isinstance(value, Path) else "")
def test_features_tokens_and_gradients(name: str, path: Path) -> None:
    with EncoderVectors(path) as golden:
        for suffix in ("", "_alt", "_small"):
            if f"x{suffix}" not in golden.arrays:
                continue
            x = torch.from_numpy(golden[f"x{suffix}"])
            network, ours = loaded(name, golden, x.shape[2])
            feature = network(x)
            golden.compare(f"emb{suffix}", feature)
            if f"feat{suffix}" in golden.arrays:
                tokens = network.forward_tokens(x)
                in_time = name != "ecg_cpc"  # kept as (B, D, T)
                golden.compare(f"feat{suffix}", tokens.transpose(1, 2) if in_time else tokens)
            if not suffix:
                gradients(golden, network, feature, ours)
                between(name, golden, network, x)
        assert golden.left_over() == []


def gradients(golden: EncoderVectors, network: nn.Module, feature: torch.Tensor, ours: dict[str, str | None]) -> None:
    feature.sum().backward()
    parameters = dict(network.named_parameters())
    for array in (array for array in golden.arrays if array.startswith("grad/")):
        golden.compare(array, parameters[str(ours[array[5:]])].grad)


def between(name: str, golden: EncoderVectors, network: Any, x: torch.Tensor) -> None:
    """What lies between layers, by which a mistake is found."""
    if name == "ecgfounder":
        golden.compare("mid/stem", places := nn.functional.silu(network.first_conv(x)))
        for number, stage in enumerate(network.stage_list[:-1]):
            golden.compare(f"mid/stage{number}", places := stage(places))
    elif name == "merl_resnet18":
        places = torch.relu(network.bn1(network.conv1(x)))
        for number in (1, 2, 3):
            places = network.get_submodule(f"layer{number}")(places)
            golden.compare(f"mid/layer{number}", places)
    else:
        places = network.stem(x)
        golden.compare("mid/encoder", places.transpose(1, 2))
        golden.compare("mid/kernel0", network.blocks[0].space.kernel(places.shape[2]))
        golden.compare("mid/s4_layer0", network.blocks[0].branch(places))
        golden.compare("mid/layer0_out", network.blocks[0](places).transpose(1, 2))


def with_projection(samples: int, numbers: dict[str, Any]) -> MERLZeroShot:
    return MERLZeroShot(
        samples=samples, widths=numbers["widths"], projection=numbers["projection"], heads=numbers["num_heads"]
    ).eval()


@pytest.mark.parametrize("path", vector_files("merl_resnet18_seed*.npz"), ids=lambda path: path.stem)
def test_the_projection_of_zero_shot_classification(path: Path) -> None:
    with EncoderVectors(path) as golden:
        x, numbers = torch.from_numpy(golden["x"]), MANIFEST["merl_resnet18"]["small_constructor"]
        network = with_projection(x.shape[2], {**numbers, "num_heads": numbers["attention_pool"]["num_heads"]})
        weights = {name[2:]: torch.from_numpy(golden[name]) for name in golden.arrays if name.startswith("w/")}
        load_published(network, MERL_ZERO_SHOT_NAMES.ours(weights), weights)
        golden.compare("proj", network(x))


LISTINGS = [(entry.name, entry.listing) for entry in published_encoders().values()]
LISTINGS += [("merl-resnet18", "merl_resnet18_ckpt")]


@MISSING
@pytest.mark.parametrize(("name", "listing"), LISTINGS, ids=[listing for _, listing in LISTINGS])
def test_names_and_shapes_in_full_size_as_the_registry_has_them(name: str, listing: str) -> None:
    entry = published_encoders()[name]
    shapes = read_json(f"{listing}_full_shapes.json")
    module, _, class_name = entry.class_path.rpartition(".")
    with torch.device("meta"):
        network = getattr(__import__(module, fromlist=[class_name]), class_name)(**entry.init_args)
    ours = entry.layout.names.ours(shapes)
    published = {ours_of: tuple(shapes[key]) for key, ours_of in ours.items() if ours_of is not None}
    assert published == {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert len(published) == sum(value is not None for value in ours.values())  # no two for one of ours


CHECKED = [
    ("ecgfounder", "ecgfounder", {}),
    ("merl_resnet18", "merl_resnet18_ckpt", {}),
    ("ecg_cpc", "ecg_cpc", {"samples": 600}),
]


@pytest.mark.long
@MISSING
@pytest.mark.parametrize(("name", "listing", "numbers"), CHECKED, ids=[name for name, _, _ in CHECKED])
def test_full_size(name: str, listing: str, numbers: dict[str, Any]) -> None:
    kind = {"ecgfounder": ECGFounder, "merl_resnet18": MERLResNet, "ecg_cpc": ECGCPC}[name]
    network = kind(**numbers).eval()
    shapes = read_json(f"{listing}_full_shapes.json")
    ours = NETWORKS[name].names.ours(shapes)
    counted = {key: torch.tensor(0) for key, shape in shapes.items() if ours[key] is not None and not shape}
    used = {key: shape for key, shape in shapes.items() if ours[key] is not None and shape}
    weights = weights_by_formula(used, norm_tensors(network, ours)) | counted
    (path,) = vector_files(f"{name}_fullcheck.npz")
    with EncoderVectors(path) as golden, torch.no_grad():
        for array in (array for array in golden.arrays if array.startswith("k/")):  # state spaces are given
            weights[array[2:]] = torch.from_numpy(golden[array])
        for key in weights:
            if key.endswith("output_linear.0.bias"):
                weights[key] = 0.3 * weights[key]
        load_published(network, ours, weights)
        golden.compare("emb", network(torch.from_numpy(golden["x"])))
        assert golden.left_over() == []


@pytest.mark.long
@MISSING
def test_the_projection_in_full_size() -> None:
    network = MERLZeroShot().eval()
    shapes = read_json("merl_resnet18_ckpt_full_shapes.json")
    ours = MERL_ZERO_SHOT_NAMES.ours(shapes)
    used = {key: shape for key, shape in shapes.items() if ours[key] is not None and shape}
    counted = {key: torch.tensor(0) for key, shape in shapes.items() if ours[key] is not None and not shape}
    load_published(network, ours, weights_by_formula(used, norm_tensors(network, ours)) | counted)
    (path,) = vector_files("merl_resnet18_fullcheck.npz")
    with EncoderVectors(path) as golden, torch.no_grad():
        golden.compare("proj", network(torch.from_numpy(golden["x"])))
