"""The files of a request, kept in memory alone, and which of them make up a recording."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ecgcmr.formats.signal_declaration import DECLARATION_FILE
from ecgcmr.formats.wfdb_header import MAX_HEADER_BYTES, signal_names
from ecgcmr.inference.serve.predictor import Upload

FIELD = "files"
"""Name under which a form sends files."""

_LONGEST_NAME = 200
_MOST_FIELDS = 16


class _InMemory(MultiPartParser):
    """Reads a form; its files stay in memory, since 0 lets none of them be rolled over to disk."""

    spool_max_size = 0
    ended = False

    def on_end(self) -> None:
        """Note that the form's last boundary came."""
        self.ended = True


async def read_form(request: Request, most: int) -> tuple[list[Upload], dict[str, str]]:
    """Return the files of a request, and its other fields.

    Args:
        request: Its body is bounded by the guard.
        most: Most files.

    Raises:
        HTTPException: 400 the form is broken, 413 more files, 415 no form, 422 no file.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(415, f"send the files as multipart/form-data, each under the name {FIELD!r}")
    parser = _InMemory(request.headers, request.stream(), max_files=most, max_fields=_MOST_FIELDS, max_part_size=1024)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if "Maximum number of files" in error.message else 400
        raise HTTPException(status, error.message) from error
    except MultipartParseError as error:
        raise HTTPException(400, "the form is broken") from error
    try:
        if not parser.ended:
            raise HTTPException(400, "the form ends before its last boundary")
        files = [value for name, value in form.multi_items() if name == FIELD and isinstance(value, UploadFile)]
        uploads = [Upload(own_name(file.filename), await file.read()) for file in files]
    finally:
        await form.close()
    if not uploads:
        raise HTTPException(422, f"no file was sent under the name {FIELD!r}")
    return uploads, {name: value for name, value in form.multi_items() if isinstance(value, str)}


def own_name(stated: Any) -> str:
    """Return a file's name without folders, of visible signs and bounded; its suffix stays."""
    name = "".join(sign if sign.isprintable() else "_" for sign in re.split(r"[/\\]", str(stated or ""))[-1].strip())
    return "unnamed" if name in ("", ".", "..") else name if len(name) <= _LONGEST_NAME else name[-_LONGEST_NAME:]


def recordings(uploads: Sequence[Upload]) -> list[tuple[Upload, ...]]:
    """Return the files of each recording, its main one first.

    A WFDB header brings the signal files that it names, where they were sent; a declaration goes with every file.

    Args:
        uploads: Of one request.

    Raises:
        HTTPException: 422 two files have one name, so that a header's or the declaration would be ambiguous.
    """
    headers = [upload for upload in uploads if upload.name.endswith(".hea")]
    declaration = [upload for upload in uploads if upload.name == DECLARATION_FILE][-1:]
    by_name = {upload.name: upload for upload in uploads}
    parts: dict[str, tuple[Upload, ...]] = {}
    for header in headers:
        names = dict.fromkeys(signal_names(header.content[:MAX_HEADER_BYTES]))
        parts[header.name] = tuple(by_name[name] for name in names if name in by_name and name != header.name)
    counted = Counter(upload.name for upload in uploads)
    within = {part.name for files in parts.values() for part in files}
    twice = sorted(name for name in {*within, *parts, DECLARATION_FILE} if counted[name] > 1)
    if twice:
        raise HTTPException(422, f"two files are called {twice[0]}; send such recordings one by one")
    mains = [upload for upload in uploads if upload.name not in within and upload.name != DECLARATION_FILE]
    if not mains:
        raise HTTPException(422, f"no recording was sent, only {uploads[0].name}")
    return [(main, *parts[main.name]) if main.name in parts else (main, *declaration) for main in mains]
