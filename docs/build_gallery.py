"""Build docs/gallery.md and its pictures from a finished demo: ``make gallery``.

Pictures are reduced to a width that a page shows, in 256 colours; GIFs are taken as they are.
"""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parent
PICTURES = DOCS / "gallery"
WIDTH, NARROW_WIDTH = 1100, 780
"""Pixels at most; the second of what is drawn for narrow screens, where a page shows 390 of twice the density."""


@dataclass(frozen=True)
class Picture:
    """One picture of the page.

    Attributes:
        file: Within the demo's folder; of several that match the first by name.
        title: Its heading.
        text: What it shows and how to read it.
        wide: The same on A4, which the page links to.
        width: Pixels at most.
    """

    file: str
    title: str
    text: str
    wide: str = ""
    width: int = WIDTH


PICTURE_LIST = (
    Picture(
        "figures/phenotypes_label_efficiency.png",
        "Phenotypes by number of labels",
        "Mean R2 on test subjects, with 95 % intervals, as the number of labelled recordings grows.",
    ),
    Picture(
        "figures/phenotypes_bullseye.png",
        "Wall segments",
        "What is predicted of wall thickness and strain, by AHA segment.",
    ),
    Picture(
        "inferred/*.png",
        "One new ECG",
        "The page that `ecgcmr infer` draws of an ECG file: verdicts on the recording, tracing, predictions with "
        "intervals beside reference ranges.",
        width=NARROW_WIDTH,
    ),
    Picture(
        "explained/localisation_image.png",
        "Where the ECG finds itself in the image",
        "Similarity of the ECG's embedding with places of the image, as published and by hiding places. Contours are "
        "the true ones of the synthetic heart.",
    ),
    Picture(
        "explained/localisation_ratios.png",
        "How much of a map lies where",
        "Share of a map's mass over the share of area or time, beside an untrained pair, shuffled subjects and the "
        "steepness of the picture alone; 1 is a map without preference.",
    ),
    Picture(
        "explained/localisation_beat_1.gif",
        "Instants of a beat against the image",
        "An animation over one cycle: which places of the image go with an instant of the ECG.",
    ),
    Picture(
        "explained/localisation_ecg_occlusion_1_narrow.png",
        "Where the image finds itself in the ECG",
        "Loss of similarity when a stretch of the ECG is hidden, as colour on the tracing.",
        "explained/localisation_ecg_occlusion_1.png",
        NARROW_WIDTH,
    ),
    Picture(
        "attributed/attribution_lv_mass_beat.png",
        "What a prediction follows from",
        "Integrated gradients of LV mass on the median beat of twelve leads.",
    ),
    Picture(
        "attributed/attribution_lv_mass_segments.png",
        "By segment and lead",
        "Share of the attribution of LV mass, with intervals by subject, beside random weights.",
    ),
    Picture(
        "attributed/attention_heads.png", "Attention", "Attention of the network over leads and time, head by head."
    ),
    Picture(
        "explained/retrieval_neighbours_1.png",
        "Nearest hearts",
        "An ECG, its own heart, and the hearts that its embedding finds nearest among the test subjects.",
    ),
    Picture(
        "explained/retrieval.png",
        "Retrieval",
        "How often the own heart is among the nearest, both ways, beside chance.",
    ),
    Picture("explained/embedding.png", "Map of embeddings", "Principal components of the ECG embedding, by label."),
    Picture(
        "explained/concepts_ecg_lv_mass.png",
        "A direction that is a concept",
        "The mean ECG of real recordings along the direction of the embedding that predicts a phenotype.",
    ),
)


def main(demo: Path) -> int:
    """Write the page; returns 2 where a picture is missing."""
    found = [(picture, sorted(demo.glob(picture.file))) for picture in PICTURE_LIST]
    missing = [picture.file for picture, files in found if not files]
    missing += [picture.wide for picture in PICTURE_LIST if picture.wide and not (demo / picture.wide).is_file()]
    if missing:
        print(f"error: {demo}: lacks {', '.join(missing)}; run 'make demo', then 'make gallery'", file=sys.stderr)
        return 2
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir()
    parts = [_HEAD]
    for number, (picture, files) in enumerate(found, start=1):
        name = f"{number:02d}_{Path(picture.file).name.replace('*', 'page')}"
        name = name if name.endswith((".png", ".gif")) else f"{name}.png"
        (PICTURES / name).write_bytes(_reduced(files[0], picture.width))
        text = picture.text
        if picture.wide:
            wide = f"{number:02d}_{Path(picture.wide).name}"
            (PICTURES / wide).write_bytes(_reduced(demo / picture.wide, WIDTH))
            text += f" [The same on A4, 3 x 4](gallery/{wide})."
        parts.append(f"## {picture.title}\n\n{text}\n\n![{picture.title}](gallery/{name})\n")
    (DOCS / "gallery.md").write_text("\n".join(parts))
    size = sum(path.stat().st_size for path in PICTURES.iterdir())
    print(f"docs/gallery.md: {len(found)} pictures, {size / 1e6:.1f} MB")
    return 0


def _reduced(path: Path, width: int) -> bytes:
    if path.suffix == ".gif":
        return path.read_bytes()
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


_HEAD = """\
# Gallery

All of it is made by `make demo` and `make gallery`: a synthetic cohort, masked pre-training, alignment with cardiac
MRI, and the commands `report`, `infer` and `explain`. These are of the demo as it comes, 2,600 subjects; larger ones
(`ecgcmr demo cohort.synthesize.subjects=6000`) show more. What the pictures of interpretation mean, and what they do
not, says [interpretation](interpretation.md).
"""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
