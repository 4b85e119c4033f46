"""The pages of the shipped configs, from the files themselves."""

from __future__ import annotations

import re
from pathlib import Path

from markdown_text import cell

FOLDER = "reference/configs"
_HEAD = """\
# Configs

Every file that comes with the program, as it stands. [How configs compose](../../configs.md) says how they are laid
over each other, and `ecgcmr fit -c FILE --print_config` what one of them comes to.
"""


def config_pages(configs: Path) -> dict[str, str]:
    """Return the pages by their place below ``docs``.

    Args:
        configs: The folder of configs, with the README.md that lists them.
    """
    titles = dict(re.findall(r"^## (\w+)\n\n(.+)$", (configs / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    folders = [configs / name for name in titles] + sorted(
        folder for folder in configs.iterdir() if folder.is_dir() and folder.name not in titles
    )
    pages, overview = {}, [_HEAD]
    for folder in folders:
        files = sorted(folder.glob("*.yaml"))
        if not files:
            continue
        title = titles.get(folder.name, "")
        rows = [
            f"| [`{path.stem}`]({folder.name}.md#{_anchor(path)}) | {cell(_first_comment(path))} |" for path in files
        ]
        overview.append("\n".join([f"## {folder.name}", "", title, "", "| file | what |", "|---|---|", *rows]))
        parts = [f"# configs/{folder.name}", title, *(_file(path) for path in files)]
        pages[f"{FOLDER}/{folder.name}.md"] = "\n\n".join(parts) + "\n"
    return {f"{FOLDER}/index.md": "\n\n".join(overview) + "\n", **pages}


def _file(path: Path) -> str:
    name = f"configs/{path.parent.name}/{path.name}"
    text = path.read_text(encoding="utf-8").rstrip()
    return f'## {path.stem} {{ #{_anchor(path)} }}\n\n```yaml title="{name}"\n{text}\n```'


def _anchor(path: Path) -> str:
    return path.stem.replace("+", "-")


def _first_comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
