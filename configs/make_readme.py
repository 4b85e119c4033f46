"""Writes README.md beside it: every config in one line, its first comment. Run by ``python configs/make_readme.py``."""

from __future__ import annotations

from pathlib import Path

CONFIGS = Path(__file__).resolve().parent
ROOMS = {
    "mae": "Masked autoencoders of ECGs",
    "alignment": "ECG with CMR, with measurements, or with both",
    "objectives": "Overlays: another objective, given after the config that it changes",
    "unimodal": "Contrast within one modality",
    "downstream": "Phenotypes, diseases and risks from an encoder",
    "experiments": "Whole comparisons, for `ecgcmr experiment`",
    "sweeps": "What a sweep tries, for `ecgcmr sweep`",
    "encoders": "Pieces: networks, such as `--model.encoder configs/encoders/ecg_cnn.yaml`",
    "augmentations": "Pieces: augmentations",
    "callbacks": "Pieces: callbacks",
    "loggers": "Pieces: loggers, such as `--trainer.logger configs/loggers/csv.yaml`",
    "searches": "Pieces: what a search before a fit tries, such as `--search configs/searches/from_scratch.yaml`",
    "trainers": "What trainers are laid over",
    "common": "What several configs are laid over",
}
HEAD = """\
# Configs

Made by `python configs/make_readme.py` from the first line of every file. How files are laid over each other, and how a
piece is taken by its path, stands in [docs/configs.md](../docs/configs.md). Each has a name that needs no path and
works in an installed wheel too: `mae/demo` for `mae/demo.yaml` here.
"""


def readme() -> str:
    """Return the text of README.md."""
    parts = [HEAD]
    for room, title in ROOMS.items():
        lines = [f"- `{path.name}`: {_first_comment(path)}" for path in sorted((CONFIGS / room).glob("*.yaml"))]
        parts.append(f"## {room}\n\n{title}.\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _first_comment(path: Path) -> str:
    line = path.read_text(encoding="utf-8").splitlines()[0]
    if not line.startswith("# "):
        raise SystemExit(f"{path}: its first line must say in a comment what it is")
    return line.removeprefix("# ")


if __name__ == "__main__":
    (CONFIGS / "README.md").write_text(readme(), encoding="utf-8")
