"""Model folders on the Hugging Face hub: fetched as `hf://OWNER/NAME[@REVISION]`, uploaded by `ecgcmr push`."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from ecgcmr.errors import UserError
from ecgcmr.inference.model_folder import (
    DESCRIPTION_FILE,
    ONNX_FILE,
    README_FILE,
    TENSORS_FILE,
    check_onnx_file,
    inner_file,
    read_model_folder,
)
from ecgcmr.text import printable

SCHEME = "hf://"
FILES = (DESCRIPTION_FILE, TENSORS_FILE, README_FILE, ONNX_FILE)
"""All that is fetched or uploaded, whatever else lies in a folder."""

_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,95}"
_NAME = re.compile(rf"({_WORD})/({_WORD})")
_ADDRESS = re.compile(rf"{SCHEME}(?P<name>{_NAME.pattern})(?:@(?P<revision>{_WORD}(?:/{_WORD})*))?")


def fetched(address: str) -> tuple[Path, Path]:
    """Fetch a model folder.

    Args:
        address: ``hf://OWNER/NAME[@REVISION]``; a revision is a commit, a tag or a branch.

    Returns:
        The folder, and the one out of which none of its links may lead: the hub's cache keeps a file once and links it.

    Raises:
        UserError: The address is none, huggingface_hub is not installed, or the hub does not give the files.
    """
    form = _ADDRESS.fullmatch(address)
    if form is None:
        raise UserError(f"{printable(address, 100)}: is no address of a model; write {SCHEME}OWNER/NAME[@REVISION]")
    try:
        where = _hub().snapshot_download(form["name"], revision=form["revision"], allow_patterns=list(FILES))
    except UserError:
        raise
    except Exception as error:  # of the network, the hub or the cache, of many kinds
        raise UserError(f"{address}: cannot be fetched ({_reason(error)}); check name, revision and access") from error
    folder = Path(where)
    is_cached = folder.parent.name == "snapshots"
    return folder, folder.parent.parent if is_cached else folder


def push(folder: Path, name: str, *, private: bool = True, message: str = "") -> str:
    """Upload a model folder, checked first.

    Args:
        folder: The folder.
        name: ``OWNER/NAME`` on the hub; made if it is not there.
        private: Whether a new one is private.
        message: Of the commit; empty takes the model's name and version.

    Returns:
        The address to load it by, of this very revision.

    Raises:
        UserError: The folder is not sound, the name is none, or the hub refuses.
    """
    if _NAME.fullmatch(name) is None:
        raise UserError(f"{printable(name, 100)}: is no name on the hub; write OWNER/NAME")
    description = read_model_folder(folder).description
    inner_file(folder, README_FILE)
    if description.onnx is not None:
        check_onnx_file(folder, description)
    files = [file for file in FILES if file != ONNX_FILE or description.onnx is not None]
    try:
        interface = _hub().HfApi()
        interface.create_repo(name, private=private, exist_ok=True, repo_type="model")
        commit = interface.upload_folder(
            repo_id=name,
            folder_path=str(folder),
            allow_patterns=files,
            repo_type="model",
            commit_message=message or f"{description.name}, written by ecgcmr {description.code_version}",
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name}: cannot be uploaded ({_reason(error)}); log in with 'hf auth login'") from error
    return f"{SCHEME}{name}@{commit.oid}"


def _hub() -> Any:
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise UserError("huggingface_hub is not installed; add it with: pip install 'ecgcmr[hub]'") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {printable(' '.join(str(error).split()), 200)}"
