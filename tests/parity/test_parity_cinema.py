"""CineMA: names, shapes, tokens, features and gradients against numbers that its published code gave.

They lie beside the tests, in ``cinema_vectors.json``, so that these run anywhere.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cinema_formula import images, weights, witness
from golden_vectors import RESULTS, Result, deviations
from torch import Tensor

from ecgcmr.encoders.published import CineMA
from ecgcmr.encoders.published.cinema_views import VIEWS
from ecgcmr.encoders.published.entries_images import cinema_names

GOLDEN = json.loads(Path(__file__).with_name("cinema_vectors.json").read_text())
CASES = GOLDEN["cases"]
SMALL = [name for name in CASES if name.startswith("small ")]
RESIZED = [name for name in CASES if name.startswith("another size")]
FULL = [name for name in CASES if name.startswith("full ")]
OURS = {published: view for view, published in VIEWS.items()}
TOLERANCE = 1e-4
"""Relative to the largest absolute value."""


def compare(case: str, array: str, ours: Any, golden: Any) -> None:
    wanted = np.asarray(golden, dtype=np.float64)
    got = ours.detach().double().numpy() if isinstance(ours, Tensor) else np.asarray(ours, dtype=np.float64)
    result = Result(f"cinema {case}", array, *deviations(got.reshape(wanted.shape), wanted), TOLERANCE)
    RESULTS.append(result)
    assert result.passed, result


def built(view: str, size: int | None = None, moments: int = 1) -> CineMA:
    """Return the small network of a view."""
    numbers = GOLDEN["small"]
    image = numbers["image"][VIEWS[view]]
    slices = image[2] if len(image) == 3 else 1
    return CineMA(
        view, moments * slices, slices, size or image[0], widths=numbers["conv_chans"],
        stage_blocks=numbers["n_blocks"], embedding=numbers["embed"], depth=numbers["depth"], heads=numbers["heads"],
    ).eval()  # fmt: skip


def full(view: str) -> CineMA:
    return CineMA(view, 16 if view == "sax" else 1).eval()


def filled(encoder: CineMA, view: str, shapes: dict[str, list[int]]) -> tuple[CineMA, dict[str, str]]:
    """Load the weights by formula, strictly; the position table is the encoder's. Returns published names too."""
    ours = {name: mine for name, mine in cinema_names(view).ours(shapes).items() if mine is not None}
    drawn = weights({name: shapes[name] for name, mine in ours.items() if mine != "pos_embed"})
    state = {ours[name]: value for name, value in drawn.items()} | {"pos_embed": encoder.pos_embed}
    encoder.load_state_dict(state, strict=True)
    return encoder, ours


def small_shapes(encoder: CineMA, view: str) -> dict[str, list[int]]:
    """Return the published names that the encoder's tensors have, with our shapes."""
    state = encoder.state_dict()
    names = [name for name in GOLDEN["full_shapes"] if cinema_names(view).ours([name])[name] in state]
    return {name: list(state[str(cinema_names(view).ours([name])[name])].shape) for name in names}


def given(case: dict[str, Any]) -> Tensor:
    """Return the images as our encoders take them: rows (Y) before columns (X), slices first."""
    x = torch.from_numpy(images(case["seed"], case["batch"], case["image"]))
    return x.permute(0, *range(x.ndim - 1, 0, -1)) if x.ndim == 4 else x.transpose(1, 2)[:, None]


def as_published(tokens: Tensor, encoder: CineMA) -> Tensor:
    """Bring our tokens, image by image and row by row, to the published order, X before Y before the stack."""
    edge = encoder.grid[0]
    images_first = tokens.unflatten(1, (-1, edge, edge))  # (B, Z, Y, X, D)
    return images_first.permute(0, 3, 2, 1, 4).flatten(1, 3)


@pytest.mark.parametrize("name", SMALL)
def test_tokens_features_and_gradients(name: str) -> None:
    case = CASES[name]
    view = OURS[case["view"]]
    encoder = built(view)
    encoder, ours = filled(encoder, view, small_shapes(encoder, view))
    x = given(case)
    compare(name, "tokens", as_published(encoder.forward_tokens(x), encoder), case["tokens"])
    feature = encoder(x)
    compare(name, "feature", feature, case["feature"])
    feature.sum().backward()
    parameters = dict(encoder.named_parameters())
    assert {ours[published] for published in case["gradients"]} == set(parameters)
    gradients = {published: parameters[ours[published]].grad for published in case["gradients"]}
    found = [
        [grad.norm(), (grad * witness(published, grad.shape)).sum()]
        for published, grad in gradients.items()
        if grad is not None
    ]
    wanted = np.array(list(case["gradients"].values()))
    got = torch.tensor(found).double().numpy()
    assert got.shape == wanted.shape
    compare(name, "gradients", (got - wanted) / wanted[:, :1] + 1, np.ones_like(wanted))  # each by its own length


@pytest.mark.parametrize("name", RESIZED)
def test_images_of_another_size_have_their_positions_between_the_published_ones(name: str) -> None:
    case = CASES[name]
    view = OURS[case["view"]]
    trained = built(view)
    trained, _ = filled(trained, view, small_shapes(trained, view))
    encoder = built(view, case["image"][0], moments=1)
    spec = {"height": trained.input_spec.height, "view": view, "slices": trained.input_spec.slices}
    encoder.load_state_dict(encoder.adapt_weights(trained.state_dict(), spec), strict=True)
    x = given(case)
    compare(name, "tokens", as_published(encoder.forward_tokens(x), encoder), case["tokens"])
    compare(name, "feature", encoder(x), case["feature"])


@pytest.mark.parametrize("view", VIEWS)
def test_names_and_shapes_in_full_size(view: str) -> None:
    with torch.device("meta"):
        encoder = full(view)
    shapes = GOLDEN["full_shapes"]
    ours = cinema_names(view).ours(shapes)
    published = {mine: tuple(shapes[name]) for name, mine in ours.items() if mine is not None}
    assert published == {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert len(published) == sum(mine is not None for mine in ours.values())
    others = {name.split(".")[0] for name, mine in ours.items() if mine is None}
    assert others == {"enc_down_dict", "enc_fusion_dict", "dec_linear", "dec_embed_dict", "decoder", "pred_head_dict"}


def test_the_whole_is_as_long_as_the_file_is_said_to_be() -> None:
    assert round(4 * sum(prod(shape) for shape in GOLDEN["full_shapes"].values()) / 1e6) == 503


@pytest.mark.long
@pytest.mark.parametrize("name", FULL)
def test_full_size(name: str) -> None:
    case = CASES[name]
    view = OURS[case["view"]]
    encoder, _ = filled(full(view), view, GOLDEN["full_shapes"])
    x = given(case)
    with torch.no_grad():
        tokens = as_published(encoder.forward_tokens(x), encoder)
        compare(name, "tokens", tokens[:, case["places"]], case["tokens"])
        compare(name, "feature", encoder(x), case["feature"])
