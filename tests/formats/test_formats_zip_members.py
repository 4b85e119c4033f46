"""Archives that nobody vouches for: refused with a reason, never unpacked, never inflated beyond bounds."""

from __future__ import annotations

import dataclasses
import struct
import time
import zipfile

import numpy as np
import pytest
from cine_zip_writer import dicom_bytes, frame_dataset, members_of, sax_series, write_cine_zip, write_zip
from raw_file_writers import beating_disc

from ecgcmr.errors import UserError
from ecgcmr.formats import zip_members
from ecgcmr.formats.dicom_cine import read_cine_zip
from ecgcmr.formats.short_axis_file import cine_notes

NAME = "1234567_20209_2_0.zip"


@pytest.fixture
def cine():
    values, _ = beating_disc(size=24, slices=4, frames=8, centre=(10, 13))
    return values[:, :20] + np.random.default_rng(0).integers(0, 50, (24, 20, 4, 8)).astype(np.int16)


@pytest.mark.parametrize("name", ["../../evil.dcm", "/etc/evil.dcm", "a\\..\\evil.dcm", "C:evil.dcm", "a/../../b.dcm"])
def test_names_that_lead_out_are_refused(tmp_path, cine, name):
    members = members_of(sax_series(cine))
    path = write_zip(tmp_path / "in" / NAME, [*members, (name, members[0][1])])
    with pytest.raises(UserError, match="leads out of the archive") as caught:
        read_cine_zip(path)
    assert "evil" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_dangerous_archives_are_refused(tmp_path, cine, monkeypatch):
    members = members_of(sax_series(cine))
    path = write_zip(tmp_path / NAME, members)
    content = path.read_bytes()
    encrypted = bytearray(content)
    at = content.index(b"PK\x01\x02")
    encrypted[at + 8] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(UserError, match="is encrypted"):
        read_cine_zip(path)
    huge = bytearray(content)
    huge[at + 24 : at + 28] = struct.pack("<I", 2**31 + 5)
    path.write_bytes(huge)
    with pytest.raises(UserError, match="more than 16 MiB"):
        read_cine_zip(path)
    directory = bytearray(content)
    end = content.rindex(b"PK\x05\x06")
    directory[end + 12 : end + 16] = struct.pack("<I", 2**31)
    path.write_bytes(directory)
    with pytest.raises(UserError, match="claims a directory"):
        read_cine_zip(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="no directory"):
        read_cine_zip(path)
    path.write_bytes(content)
    monkeypatch.setattr(zip_members, "MOST_MEMBERS", 20)
    with pytest.raises(UserError, match="has 33 members, more than 20"):
        read_cine_zip(path)


def test_a_bomb_is_not_inflated(tmp_path):
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.dcm", bytes(17 * 2**20))
    with pytest.raises(UserError, match="more than 16 MiB"):
        read_cine_zip(path)


def test_headers_without_end_are_broken_off(tmp_path):
    endless = bytes(128) + b"DICM" + bytes(8 * 2**20)
    started = time.monotonic()
    with pytest.raises(UserError, match="more elements than a picture needs"):
        read_cine_zip(write_zip(tmp_path / NAME, [("a.dcm", endless), ("b.dcm", endless)]))
    assert time.monotonic() - started < 3


def test_damaged_member_is_told(tmp_path, cine):
    path = write_cine_zip(tmp_path / NAME, cine)
    content = bytearray(path.read_bytes())
    content[200:230] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{NAME}: one of its 33 members is damaged"):
        read_cine_zip(path)


def test_of_members_of_one_name_the_last_counts(tmp_path, cine):
    members = members_of(sax_series(cine))
    wrong = dicom_bytes(frame_dataset(dataclasses.replace(sax_series(cine)[0], pictures=cine[:, :, 0] * 0), 0))
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = write_zip(tmp_path / NAME, [(members[0][0], wrong), *members])
    images = read_cine_zip(path)
    np.testing.assert_array_equal(images.load_cine(), cine)
    assert cine_notes(images) == ("1 members share a name with a later one and are left out",)
