"""Encoders of CMR images among the published ones: CineMA, an entry for each of its views."""

from __future__ import annotations

from ecgcmr.encoders.published.cinema_views import SHORT_AXIS, VIEWS
from ecgcmr.encoders.published.names import PublishedNames
from ecgcmr.encoders.published.registry import PublishedFile, PublishedImages

_SMALL = {"size": 32, "widths": [4, 6], "stage_blocks": 1, "embedding": 18, "depth": 2, "heads": 3}


def cinema_names(view: str) -> PublishedNames:
    """Return how the names of the whole masked autoencoder map to those of the encoder of one view.

    Args:
        view: One of ``VIEWS``.
    """
    before, after = (rf"enc_{part}_dict\.{VIEWS[view]}\." for part in ("down", "fusion"))
    return PublishedNames(
        renamed=(
            (before + r"conv_blocks\.(\d+)\.patch_embed\.conv\.(\w+)", r"stages.\1.embed.\2"),
            (before + r"conv_blocks\.(\d+)\.patch_embed\.norm\.(\w+)", r"stages.\1.norm.\2"),
            (before + r"conv_blocks\.(\d+)\.conv\.(\d+)\.(.+)", r"stages.\1.blocks.\2.\3"),
            (before + r"patch_embed\.proj\.(\w+)", r"patch_embed.\1"),
            (before + r"linear\.(\w+)", r"patch_linear.\1"),
            (before + r"pos_embed", r"pos_embed"),
            (after + r"down_convs\.(\d+)\.(\w+)", r"joins.\1.\2"),
            (after + r"norm\.(\w+)", r"joined_norm.\1"),
            (r"encoder\.(.+)", r"\1"),
        ),
        unused=(
            rf"enc_(down|fusion)_dict\.(?!{VIEWS[view]}\.).+",  # of the other views
            r"(dec_linear|dec_embed_dict|decoder|pred_head_dict)\..+",
        ),
    )


def _entry(view: str) -> PublishedImages:
    is_stack = view == SHORT_AXIS
    millimetres = 192 if is_stack else 256
    stack = "--content volumes --slices 16 --slice-distance 10 " if is_stack else ""
    images = (
        "ED and ES, each a stack of 16 slices 10 mm apart, black ones at the end, 192 x 192 pixels of 1 mm"
        if is_stack
        else "any moments, each an image of 256 x 256 pixels of 1 mm"
    )
    return PublishedImages(
        name="cinema" if is_stack else f"cinema-{view}",
        title=f"CineMA, {'short axis' if is_stack else f'long axis, {view}'}",
        class_path="ecgcmr.encoders.published.CineMA",
        paper="Fu et al., arXiv 2506.00679",
        code="github.com/mathpluscode/CineMA, MIT",
        weights="huggingface.co/mathpluscode/CineMA, MIT",
        files=("pretrained/cinema.safetensors",),
        layout=PublishedFile(cinema_names(view), holders=("model", "")),
        feature="mean over tokens, 768",
        init_args={"view": view},
        small={**_SMALL, **({"slices": 4, "frames": 8} if is_stack else {})},
        sees=images,
        prepare=f"--view {view} {stack}--size {millimetres} --field-of-view {millimetres}",
        unverified=(
            "The pre-trained file: that it holds the names and shapes of the published code at its base size follows "
            "from its stated length of 503 MB alone.",
            "Pre-training cropped about where the long-axis planes cross, scaled each moment by itself between "
            "percentiles 0.95 and 99.5, and took slices in the order in which UK Biobank numbers its series; `prepare` "
            "centres on the heart, scales a subject's moments together between 0.5 and 99.5, and takes slices of NIfTI "
            "files as they lie.",
        ),
    )


ENTRIES: tuple[PublishedImages, ...] = tuple(_entry(view) for view in VIEWS)
