"""The published transformers over ECGs, against vectors of their authors' code and the names of their weights."""

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

from ecgcmr.encoders.published.dbeta import DBETA, DBETA_NAMES
from ecgcmr.encoders.published.ecg_fm import ECG_FM_NAMES, ECGFM
from ecgcmr.encoders.published.ecg_jepa import ECG_JEPA_NAMES, ECGJEPA
from ecgcmr.encoders.published.hubert_ecg import HUBERT_ECG_NAMES, HuBERTECG
from ecgcmr.encoders.published.merl_vit import MERL_VIT_NAMES, MERLVisionTransformer
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.st_mem import ST_MEM_NAMES, STMEM

MANIFEST = read_json("manifest.json")


def patches(numbers: dict[str, Any]) -> dict[str, Any]:
    ratio = numbers["mlp_dim"] / numbers["width"]
    return {name: numbers[name] for name in ("width", "depth", "heads")} | {
        "patch": numbers["patch_size"],
        "mlp_ratio": ratio,
    }


def st_mem(numbers: dict[str, Any], samples: int) -> STMEM:
    rows = numbers["seq_len"] // numbers["patch_size"] + 2
    return STMEM(samples=samples, table_rows=rows, **patches(numbers))


def merl_vit(numbers: dict[str, Any], samples: int) -> MERLVisionTransformer:
    return MERLVisionTransformer(samples=samples, **patches(numbers))


def ecg_jepa(numbers: dict[str, Any], samples: int) -> ECGJEPA:
    return ECGJEPA(
        leads=numbers["c"],
        samples=samples,
        patch=numbers["t"],
        width=numbers["encoder_embed_dim"],
        depth=numbers["encoder_depth"],
        heads=numbers["encoder_num_heads"],
    )


def waves(numbers: dict[str, Any], samples: int) -> dict[str, Any]:
    width = numbers["encoder_embed_dim"]
    channels, _, _ = numbers["conv_feature_layers"].strip("[").partition(",")
    return {
        "samples": samples,
        "convolutions": [int(channels.strip("("))] * 4,
        "width": width,
        "depth": numbers["encoder_layers"],
        "heads": numbers["encoder_attention_heads"],
        "mlp_ratio": numbers["encoder_ffn_embed_dim"] / width,
        "position_kernel": numbers["conv_pos"],
        "position_groups": numbers["conv_pos_groups"],
    }


def ecg_fm(numbers: dict[str, Any], samples: int) -> ECGFM:
    return ECGFM(**waves(numbers, samples), norm_first=numbers["layer_norm_first"])


def dbeta(numbers: dict[str, Any], samples: int) -> DBETA:
    return DBETA(**waves(numbers, samples), embedding=numbers["hidden_dim"])


def hubert_ecg(numbers: dict[str, Any], samples: int) -> HuBERTECG:
    width = numbers["hidden_size"]
    return HuBERTECG(
        samples=samples,
        convolutions=numbers["conv_dim"],
        kernels=numbers["conv_kernel"],
        strides=numbers["conv_stride"],
        width=width,
        depth=numbers["num_hidden_layers"],
        heads=numbers["num_attention_heads"],
        mlp_ratio=numbers["intermediate_size"] / width,
        position_kernel=numbers.get("num_conv_pos_embeddings", 128),
        position_groups=numbers.get("num_conv_pos_embedding_groups", 16),
    )


class Tower(NamedTuple):
    """A published encoder: how it is built of the manifest's numbers, its names, and the checks of its full size."""

    build: Callable[[dict[str, Any], int], Any]
    names: PublishedNames


TOWERS = {
    "st_mem": Tower(st_mem, ST_MEM_NAMES),
    "merl_vit": Tower(merl_vit, MERL_VIT_NAMES),
    "hubert_ecg": Tower(hubert_ecg, HUBERT_ECG_NAMES),
    "ecg_fm": Tower(ecg_fm, ECG_FM_NAMES),
    "ecg_fm_preln": Tower(ecg_fm, ECG_FM_NAMES),
    "dbeta": Tower(dbeta, DBETA_NAMES),
    "ecg_jepa": Tower(ecg_jepa, ECG_JEPA_NAMES),
}
SMALL = [(name, path) for name in TOWERS for path in vector_files(f"{name}_seed*.npz") if name in MANIFEST]


def recordings(golden: EncoderVectors, array: str) -> torch.Tensor:
    """Inputs as our encoders take them: HuBERT-ECG's are laid end to end."""
    x = torch.from_numpy(golden[array])
    return x if x.ndim == 3 else x.unflatten(1, (12, -1))


def loaded(name: str, golden: EncoderVectors, samples: int) -> Any:
    build, names = TOWERS[name]
    encoder = build(MANIFEST[name]["small_constructor"], samples).eval()
    weights = {array[2:]: torch.from_numpy(golden.arrays[array]) for array in golden.arrays if array.startswith("w/")}
    load_published(encoder, names.ours(weights), weights)
    return encoder


def test_the_folder_is_there() -> None:
    if vectors_folder() is None:
        pytest.skip("ECGCMR_ENCODER_VECTORS is not set and shared/encoders/ is not beside the checkout")
    assert SMALL, "there are vectors of one transformer at least, and a manifest.json that says how it is built"


@pytest.mark.parametrize(("name", "path"), SMALL, ids=lambda value: value.stem if isinstance(value, Path) else "")
def test_features_tokens_and_gradients(name: str, path: Path) -> None:
    with EncoderVectors(path) as golden:
        x = recordings(golden, "x")
        encoder = loaded(name, golden, x.shape[2])
        golden.compare("feat", encoder.forward_tokens(x).reshape(golden.arrays["feat"].shape))
        feature = encoder(x)
        golden.compare("emb", feature)
        feature.sum().backward()
        parameters = dict(encoder.named_parameters())
        gradients = [array for array in golden.arrays if array.startswith("grad/")]
        ours = TOWERS[name].names.ours([array[2:] for array in golden.arrays if array.startswith("w/")])
        for array in gradients:
            golden.compare(array, parameters[str(ours[array[5:]])].grad)
        golden.compare("emb_small", encoder(recordings(golden, "x_small")))
        if "x_alt" in golden.arrays:
            other_length_or_leads(name, golden, encoder)
        if "x_pad" in golden.arrays or "xmask" in golden.arrays:
            padded(golden, encoder, x)
        if "attention_mask" in golden.arrays:
            places = torch.arange(encoder.grid[0] * encoder.grid[1])[None]
            golden.compare("attention_mask", encoder._mask(places, None)[0].to(torch.uint8))
        assert golden.left_over() == []


def other_length_or_leads(name: str, golden: EncoderVectors, encoder: Any) -> None:
    x = recordings(golden, "x_alt")
    if name == "ecg_jepa":  # of three leads the first and the last
        whole = torch.full((1, 3, x.shape[2]), torch.nan)
        whole[:, [0, 2]] = x
        mask = torch.tensor([[True, False, True]])
        tokens = encoder.forward_tokens(whole, mask)
        golden.compare("feat_alt", tokens[encoder.token_mask(mask)][None])
        golden.compare("emb_alt", encoder(whole, mask))
        return
    encoder = loaded(name, golden, x.shape[2])
    golden.compare("feat_alt", encoder.forward_tokens(x).reshape(golden.arrays["feat_alt"].shape))
    golden.compare("emb_alt", encoder(x))


def padded(golden: EncoderVectors, encoder: Any, x: torch.Tensor) -> None:
    if "xmask" in golden.arrays:
        lengths = recordings(golden, "xmask").sum(dim=2)[:, 0].long()
        golden.compare("feat_masked", encoder.forward_tokens(x, lengths))
        golden.compare("emb_masked", encoder(x, lengths))
        return
    x, padding = recordings(golden, "x_pad"), torch.from_numpy(golden["xpad_mask"]).bool()
    lengths = (~padding).sum(dim=2)[:, 0]
    tokens = encoder.forward_tokens(x, lengths)
    golden.compare("token_padding_pad", (~encoder.token_lengths_mask(lengths, tokens)).numpy().astype("float32"))
    golden.compare("feat_pad", tokens)
    golden.compare("emb_pad", encoder(x, lengths))


class FullSize(NamedTuple):
    """A listing of a published module, whose encoder it is, and the numbers that differ from our defaults."""

    name: str
    listing: str
    encoder: type[nn.Module]
    numbers: dict[str, Any]


FULL = [
    FullSize("st_mem", "st_mem", STMEM, {}),
    FullSize("st_mem", "st_mem_pretrain", STMEM, {}),
    FullSize("st_mem", "st_mem_small", STMEM, {"width": 384, "heads": 6}),
    FullSize("merl_vit", "merl_vit_tiny", MERLVisionTransformer, {}),
    FullSize("merl_vit", "merl_vit_tiny_ckpt", MERLVisionTransformer, {}),
    FullSize("hubert_ecg", "hubert_ecg_small", HuBERTECG, {"width": 512, "depth": 8, "heads": 8}),
    FullSize("hubert_ecg", "hubert_ecg_base", HuBERTECG, {}),
    FullSize("hubert_ecg", "hubert_ecg_large", HuBERTECG, {"width": 960, "depth": 16}),
    FullSize("ecg_fm", "ecg_fm", ECGFM, {}),
    FullSize("ecg_fm", "ecg_fm_pretrain", ECGFM, {}),
    FullSize("dbeta", "dbeta", DBETA, {}),
    FullSize("dbeta", "dbeta_ckpt_without_text", DBETA, {}),
    FullSize("ecg_jepa", "ecg_jepa", ECGJEPA, {}),
]


def listed(full: FullSize) -> dict[str, list[int]]:
    """Return the names and shapes of a published module, or skip."""
    shapes = read_json(f"{full.listing}_full_shapes.json")
    if not shapes:
        pytest.skip(f"ECGCMR_ENCODER_VECTORS has no {full.listing}_full_shapes.json")
    return shapes


@pytest.mark.parametrize("full", FULL, ids=lambda full: full.listing)
def test_names_and_shapes_in_full_size(full: FullSize) -> None:
    shapes = listed(full)
    with torch.device("meta"):
        encoder = full.encoder(**full.numbers)
    ours = TOWERS[full.name].names.ours(shapes)
    published = {name: tuple(shapes[key]) for key, name in ours.items() if name is not None}
    assert published == {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert len(published) == sum(name is not None for name in ours.values())  # no two published names for one of ours


CHECKED = [
    ("st_mem_fullcheck", FULL[0]),
    ("merl_vit_tiny_fullcheck", FULL[4]),
    ("hubert_ecg_base_fullcheck", FULL[6]),
    ("ecg_fm_fullcheck", FULL[8]),
    ("ecg_fm_preln_fullcheck", FULL[8]._replace(numbers={"norm_first": True})),
    ("dbeta_fullcheck", FULL[10]),
    ("ecg_jepa_fullcheck", FULL[12]),
]


@pytest.mark.long
@pytest.mark.parametrize(("file", "full"), CHECKED, ids=[file for file, _ in CHECKED])
def test_full_size(file: str, full: FullSize) -> None:
    with torch.device("meta"):
        encoder = full.encoder(**full.numbers).eval()
    shapes = listed(full)
    if not (paths := vector_files(f"{file}.npz")):
        pytest.skip(f"there is no {file}.npz")
    ours = TOWERS[full.name].names.ours(shapes)
    used = {name: shape for name, shape in shapes.items() if ours[name] is not None}
    weights = weights_by_formula(used, norm_tensors(encoder, ours))
    if full.name == "ecg_jepa":
        weights["pos_embed"] = ECGJEPA(depth=1).pos_embed
    encoder.to_empty(device="cpu")
    load_published(encoder, ours, weights)
    with EncoderVectors(paths[0]) as golden, torch.no_grad():
        golden.compare("emb", encoder(recordings(golden, "x")))
        if full.name == "ecg_jepa":
            golden.compare("pos_embed_sum", encoder.pos_embed.double().sum())
            row = torch.from_numpy(golden["pos_embed_row"])
            assert (encoder.pos_embed - row).abs().amax(dim=1).min() < 1e-6
        assert golden.left_over() == []
