"""``ecgcmr configs``: the configs that come with the program, listed, shown or copied."""

from __future__ import annotations

import argparse
import shutil
from itertools import groupby
from pathlib import Path

from ecgcmr.errors import UserError
from ecgcmr.files import remove_paths
from ecgcmr.shipped_configs import close_names, shipped_config, shipped_configs

HELP = """\
List the configs that come with ecgcmr, show one, or copy them all into a folder to be changed. Wherever a config file
is named, such a name will do ('ecgcmr fit -c mae/demo'); a file of yours at that path wins.

  ecgcmr configs                          every name, with a line of what it is for
  ecgcmr configs encoders                 those of one room
  ecgcmr configs alignment/demo           the file itself
  ecgcmr configs --copy my_configs        all of them, in my_configs/mae, my_configs/alignment, ...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a config such as mae/demo, or a room such as encoders")
    parser.add_argument("--copy", type=Path, metavar="DIR", help="copy every config into this new or empty folder")


def run(args: argparse.Namespace) -> int:
    """List, show or copy.

    Returns:
        0.

    Raises:
        UserError: There is no such config, or the folder holds something.
    """
    if args.copy is not None:
        if args.name is not None:
            raise UserError(f"--copy takes all configs, for they name each other; leave out {args.name}")
        print(_copy(args.copy))
        return 0
    shipped = shipped_configs()
    room = {name: path for name, path in shipped.items() if name.startswith(f"{args.name}/")}
    if args.name is None or room:
        print(_listing(room or shipped))
        return 0
    file = shipped_config(args.name)
    if file is None:
        raise UserError(f"there is no shipped config {args.name}{close_names(args.name)}")
    print(file.read_text(encoding="utf-8"), end="")
    return 0


def first_comment(path: Path) -> str:
    """Return the first line of a config, which says what it is."""
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


def _listing(configs: dict[str, Path]) -> str:
    width = max(map(len, configs)) + 2
    blocks = []
    for _, names in groupby(configs, key=lambda name: name.partition("/")[0]):
        blocks.append("\n".join(f"{name:<{width}}{first_comment(configs[name])}" for name in names))
    return "\n\n".join(blocks)


def _copy(out: Path) -> str:
    """Copy every config and return what to do with them."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--copy {out}: is there already and not empty; name a new folder")
    try:
        for name, path in shipped_configs().items():
            target = out / f"{name}.yaml"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    except OSError:  # a full disk: half of them are none, and would be in the way of the next call
        remove_paths(list(out.iterdir()) if out.is_dir() else [])
        raise
    return f"{len(shipped_configs())} configs in {out}; next: ecgcmr fit -c {out / 'mae' / 'demo.yaml'} --data.root DIR"
