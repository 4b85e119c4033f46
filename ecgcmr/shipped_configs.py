"""The configs that come with the program, by name: ``mae/demo`` is ``configs/mae/demo.yaml`` of the repository.

That path is a name of it too, so that what the pages say works in a folder without the repository.
In an installed wheel they lie beside the code; in a checkout and an editable installation, in the repository's folder
``configs``. A file of the user's own wins over a shipped one of the same name.
"""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.text import printable

_PACKAGE = Path(__file__).resolve().parent


@cache
def shipped_folder() -> Path:
    """Return the folder of the shipped configs.

    Raises:
        UserError: The installation lacks it.
    """
    for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if (folder / "common").is_dir():
            return folder
    raise UserError(f"{_PACKAGE}: the configs that belong to ecgcmr are missing; install it again")


@cache
def shipped_configs() -> dict[str, Path]:
    """Return name, such as ``mae/demo``, -> file of every shipped config, sorted by name."""
    folder = shipped_folder()
    paths = sorted(folder.glob("*/*.yaml"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def is_shipped(name: str) -> bool:
    """Return whether a text is the name of a shipped config, with or without ``configs/`` and ``.yaml``."""
    return shipped_config(name) is not None


def shipped_config(name: str) -> Path | None:
    """Return the shipped config of a name, see ``is_shipped``; None where there is none."""
    if "/" not in name:  # most texts of a config
        return None
    return shipped_configs().get(name.removeprefix("configs/").removesuffix(".yaml"))


def in_a_shipped_room(text: str) -> bool:
    """Return whether a text begins as the name of a shipped config does, such as ``encoders/``."""
    room, slash, name = text.partition("/")
    return bool(slash and name) and any(known.startswith(f"{room}/") for known in shipped_configs())


def name_of_shipped(path: Path) -> str | None:
    """Return the name under which a file is shipped, None for every other file."""
    folder = shipped_folder().resolve()
    place = path.resolve()
    name = place.relative_to(folder).with_suffix("").as_posix() if place.is_relative_to(folder) else ""
    return name if name in shipped_configs() and place.suffix == ".yaml" else None


def config_at(text: str, folder: Path = Path()) -> Path | None:
    """Return the file that a text names: at that path, at that path with ``.yaml``, or shipped; None for no file.

    Args:
        text: Such as ``my/config.yaml``, ``mae/demo`` or ``configs/mae/demo.yaml``; a folder does not count.
        folder: Where a path starts.
    """
    for path in (folder / text, folder / f"{text}.yaml"):
        try:
            if path.exists() and not path.is_dir():
                return path
        except (OSError, ValueError):  # too long for the file system, or with a zero byte
            return None
    return shipped_config(text)


def find_config(name: str | Path, *, what: str = "config", room: str | None = None) -> Path:
    """Return the file that a path from the current folder or the name of a shipped config stands for.

    Args:
        name: See ``config_at``; or a folder, of which its reader will say that it is none.
        what: What it should be, for messages.
        room: Whose configs are known without it too, such as ``experiments`` for ``demo``.

    Raises:
        UserError: There is neither; shipped names that are close to it are listed.
    """
    text = str(name)
    found = config_at(text) or (config_at(f"{room}/{text}") if room else None)
    if found is None and Path(text).exists():
        found = Path(text)
    if found is None:
        where = f"paths start from {printable(Path.cwd())}"
        raise UserError(f"there is no {what} file {printable(text, 200)}; {where}{close_names(text, room)}")
    return found


def close_names(text: str, room: str | None = None) -> str:
    """Return the end of a message that lists shipped configs of names close to a text."""
    shipped = shipped_configs()
    word = "/".join(Path(text.removesuffix(".yaml")).parts[-2:])
    if word in shipped:
        return f"; the one that comes with ecgcmr is named {word}"
    close = difflib.get_close_matches(word, shipped, n=3, cutoff=0.75)
    if room:
        known = [name.removeprefix(f"{room}/") for name in shipped if name.startswith(f"{room}/")]
        close += [f"{room}/{name}" for name in difflib.get_close_matches(word, known, n=3, cutoff=0.75)]
    close += [name for name in shipped if name.partition("/")[2] == word.rpartition("/")[2]]
    names = list(dict.fromkeys(close))[:4]
    return f"; close to it: {', '.join(names)}" if names else "; 'ecgcmr configs' lists those that come with ecgcmr"
