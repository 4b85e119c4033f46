"""What CineMA does beyond the contract: moments by themselves, their scale, images of another size, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ecgcmr.encoders import LocalStackEncoder, require_encoder
from ecgcmr.encoders.published import CineMA
from ecgcmr.encoders.published.cinema_views import stretched
from ecgcmr.errors import UserError

SMALL: dict[str, Any] = {"size": 32, "widths": [4, 6], "stage_blocks": 1, "embedding": 24, "depth": 2, "heads": 4}


def built(**arguments: Any) -> CineMA:
    torch.manual_seed(0)
    return CineMA(**{**SMALL, **arguments}).eval()


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("view", "each"), [("sax", 3), ("2ch", 1)])
def test_every_moment_is_looked_at_by_itself_and_features_are_averaged(view: str, each: int) -> None:
    two, one = built(view=view, frames=2 * each, slices=3), built(view=view, frames=each, slices=3)
    one.load_state_dict(two.state_dict(), strict=True)
    x = drawn(2, 2 * each, 32, 32)
    moments = x.split(each, dim=1)
    torch.testing.assert_close(two(x), (one(moments[0]) + one(moments[1])) / 2, rtol=1e-4, atol=1e-6)
    apart = torch.cat([one.local_stack(moment) for moment in moments], dim=1)
    torch.testing.assert_close(two.local_stack(x), apart, rtol=1e-4, atol=1e-5)


def test_the_feature_is_the_mean_of_the_places_of_all_images() -> None:
    encoder = built(frames=6, slices=3)
    assert require_encoder(encoder, LocalStackEncoder) is encoder
    x = drawn(2, 6, 32, 32)
    places = encoder.local_stack(x)
    assert places.shape == (2, 6, 24, 2, 2)
    torch.testing.assert_close(places.mean(dim=(1, 3, 4)), encoder(x), rtol=1e-4, atol=1e-6)


def test_a_place_of_the_map_is_where_it_is_in_the_image() -> None:
    """Before attention spreads it, a change stays at its rows and columns: seen with the transformer silenced."""
    encoder = built(view="3ch", frames=1)
    for block in encoder.blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            torch.nn.init.zeros_(layer.weight)
    x = drawn(1, 1, 32, 32)
    other = x.clone()
    other[0, 0, 24:, 8:10] = 0.5  # below, left
    moved = (encoder.local_features(other) - encoder.local_features(x)).abs().amax(dim=1)[0]
    assert moved.flatten().argmax() == 2  # row 1, column 0 of 2 x 2


def test_least_and_largest_of_each_moment_become_0_and_1() -> None:
    x = drawn(2, 3, 4, 4)
    made = stretched(x)
    assert (made.amin(dim=(1, 2, 3)) == 0).all()
    assert (made.amax(dim=(1, 2, 3)) == 1).all()
    assert (stretched(torch.full((1, 2, 2, 2), 0.3)) == 0).all()
    encoder = built(frames=6, slices=3)
    images = drawn(2, 6, 32, 32)
    dimmer = torch.cat([images[:, :3] * 0.5 + 0.2, images[:, 3:] * 0.7], dim=1)
    torch.testing.assert_close(encoder(dimmer), encoder(images), rtol=1e-3, atol=1e-4)
    assert torch.isfinite(encoder(torch.zeros(1, 6, 32, 32))).all()


def test_weights_go_over_to_images_of_another_size_and_number() -> None:
    encoder, larger = built(view="4ch", frames=3), built(view="4ch", frames=5, size=48)
    spec = {"kind": "CMRInput", "frames": 3, "height": 32, "width": 32, "view": "4ch", "pixel_mm": 1.0}
    state = larger.adapt_weights(encoder.state_dict(), spec)
    larger.load_state_dict(state, strict=True)
    assert state["pos_embed"].shape == (1, 9, 24)
    with pytest.raises(UserError, match="pos_embed is \\(1, 4, 24\\) in the weights"):
        larger.adapt_weights(encoder.state_dict(), {**spec, "height": 64, "width": 64})
    for odd in ({"view": "2ch"}, {"slices": 4}):
        with pytest.raises(UserError, match="only frames, height and width may differ"):
            larger.adapt_weights(encoder.state_dict(), {**spec, **odd})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"view": "la"}, "unknown view 'la': choose one of sax, 2ch, 3ch, 4ch"),
        ({"frames": 10, "slices": 4}, "frames 10 are no whole stacks of 4 slices"),
        ({"size": 40}, "size 40 is not divisible by the 16 pixels"),
        ({"heads": 5}, "embedding 24 is not divisible by heads 5"),
        ({"widths": []}, "widths, patch, stage_blocks"),
        ({"depth": 0}, "must be positive"),
        ({"slices": 0}, "frames, slices and size must be positive"),
        ({"drop_path": 1.0}, "drop_path must lie in"),
    ],
)
def test_numbers_that_do_not_fit_are_named(arguments: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=message):
        built(**arguments)


def test_the_published_sizes_are_those_by_default() -> None:
    with torch.device("meta"):
        stack, image = CineMA(), CineMA("4ch")
    assert stack.input_spec.check(torch.zeros(1, 32, 192, 192, device="meta")) is None
    assert (stack.input_spec.slices, stack.input_spec.slice_mm, stack.input_spec.pixel_mm) == (16, 10.0, 1.0)
    assert (image.input_spec.frames, image.input_spec.height, image.input_spec.slices) == (3, 256, None)
    assert (stack.grid, image.grid) == ((12, 12, 16), (16, 16))
