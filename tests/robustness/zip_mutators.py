"""Changes inside zip archives (images, .npz, .pth, .ckpt) that leave the archive whole, or to its directory."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile

import numpy as np
from byte_mutators import BYTES, STRANGERS, Mutator

Generator = np.random.Generator


def _members(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _archive(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # two members of one name are what is wanted
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name or "empty"), content, compression)
    return buffer.getvalue()


def zip_member(content: bytes, rng: Generator) -> bytes:
    """Damage, lose, repeat, rename or replace one member; the archive itself stays right."""
    members = _members(content)
    place = int(rng.integers(len(members)))
    name, inside = members[place]
    way = int(rng.integers(6))
    if way == 0:
        del members[place]
    elif way == 1:
        members.insert(place, (name, STRANGERS[rng.integers(len(STRANGERS))]))
    elif way == 2:
        members[place] = (("../" + name, "/" + name, name + "\n", name.upper(), "x" * 3000)[rng.integers(5)], inside)
    elif way == 3:
        members[place] = (name, bytes(50 * 2**20))
    else:
        members[place] = (name, BYTES[rng.integers(len(BYTES))](inside, rng))
    return _archive(members, zipfile.ZIP_DEFLATED if way == 3 or rng.random() < 0.3 else zipfile.ZIP_STORED)


def zip_directory(content: bytes, rng: Generator) -> bytes:
    """Change a few bytes of the directory at the end, where sizes, places and methods stand."""
    values = bytearray(content)
    begin = content.rfind(b"PK\x05\x06")
    begin = (
        struct.unpack_from("<I", content, begin + 16)[0]
        if 0 <= begin < len(content) - 20 and rng.random() < 0.7
        else begin
    )
    if not 0 <= begin < len(content):
        return content[:-1]
    for place in rng.integers(begin, len(content), int(rng.integers(1, 5))):
        values[place] = rng.choice([0, 1, 127, 255, int(rng.integers(256))])
    return bytes(values)


ZIP: tuple[Mutator, ...] = (zip_member, zip_member, zip_directory, *BYTES)
