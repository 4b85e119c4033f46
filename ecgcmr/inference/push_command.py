"""``ecgcmr push DIR OWNER/NAME``: a model folder to the Hugging Face hub."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """\
Upload a model folder that 'ecgcmr export' wrote to the Hugging Face hub, where ecgcmr.load("hf://OWNER/NAME") finds it.
The folder is checked first; nothing but the files of the model is uploaded. Needs the extra hub and 'hf auth login'.

  ecgcmr push models/demo OWNER/NAME             a new repository is private
  ecgcmr push models/demo OWNER/NAME --public
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="model folder")
    parser.add_argument("name", metavar="OWNER/NAME", help="repository on the hub")
    parser.add_argument("--public", action="store_true", help="let everybody see a new repository")
    parser.add_argument("--message", default="", help="message of the commit")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns 0 when the folder is uploaded."""
    from ecgcmr.inference.hub import push

    print(push(args.folder, args.name, private=not args.public, message=args.message))
    return 0
