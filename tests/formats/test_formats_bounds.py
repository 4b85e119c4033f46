"""Files that claim or unpack to more than any recording, table or image: one line, before memory is taken."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest
from raw_file_writers import LEADS, cardiosoft_xml, write_declaration

from ecgcmr.errors import UserError
from ecgcmr.formats import SignalDeclaration, identify_ecg, read_ecg, read_short_axis
from ecgcmr.formats.table_file import open_table

MEGABYTE = 2**20


@pytest.fixture
def little_memory():
    """Fails a test whose Python objects and arrays take more than 256 MB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 256 * MEGABYTE


def bomb(begin: bytes, block: bytes, blocks: int) -> bytes:
    """A gzip file of many equal blocks, itself made block by block."""
    import zlib

    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(begin) + b"".join(packer.compress(block) for _ in range(blocks)) + packer.flush()


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("name", "begin", "block", "reason"),
    [
        ("a.xml.gz", b"<RestingECG>", b" " * MEGABYTE, "is larger than 16 MB, which no file of this kind"),
        ("a.csv.gz", b"I,II\n", b"1,2\n" * 2**18, "is larger than 64 MB, which no file of this kind"),
    ],
)
def test_packed_files_are_never_unpacked_beyond_the_bound(tmp_path, name, begin, block, reason):
    write_declaration(tmp_path, leads=())
    (tmp_path / name).write_bytes(bomb(begin, block, 200))
    with pytest.raises(UserError, match=f"{name}: {reason}"):
        read_ecg(tmp_path / name)


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_packed_files_that_are_cut_off_are_refused(tmp_path, keep):
    content = gzip.compress(cardiosoft_xml())
    (tmp_path / "a.xml.gz").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(UserError, match="a.xml.gz: is a gzip file that is damaged or cut off"):
        read_ecg(tmp_path / "a.xml.gz")


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("cell", [b"1,", b"abcd,", b"1 ", b"1;", b'"a",'])
def test_a_line_without_end_is_not_split(tmp_path, cell):
    (tmp_path / "a.csv").write_bytes(cell * (24 * MEGABYTE // len(cell)))
    with pytest.raises(UserError, match=r"a\.csv: "):
        read_ecg(tmp_path / "a.csv", SignalDeclaration(LEADS, "mV", 500))
    assert identify_ecg(tmp_path / "a.csv").kind in (None, "csv")


@pytest.mark.slow
@pytest.mark.usefixtures("little_memory")
def test_parquet_of_twenty_million_rows(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    rows = 20_000_000
    columns = {name: pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), [1.0]) for name in ("I",)}
    parquet.write_table(pa.table({"eid": columns["I"], **columns}), tmp_path / "a.parquet", row_group_size=rows)
    with pytest.raises(UserError, match="a.parquet: claims more than 2000000 samples a lead"):
        read_ecg(tmp_path / "a.parquet", SignalDeclaration((), "mV", 500))
    with pytest.raises(UserError, match="a.parquet: has more than 2,000,000 rows, one a participant"):
        next(open_table(tmp_path / "a.parquet").chunks([0]))


def test_text_of_more_rows_than_a_cohort(tmp_path, monkeypatch):
    monkeypatch.setattr("ecgcmr.formats.table_file.MOST_ROWS", 250)
    (tmp_path / "a.csv").write_text("eid,31-0.0\n" + "1,1\n" * 260)
    with pytest.raises(UserError, match=r"a\.csv: has more than 250 rows"):
        list(open_table(tmp_path / "a.csv").chunks([0, 1]))
    (tmp_path / "a.csv").write_text("eid,31-0.0\n" + "1,1\n" * 250)
    assert sum(len(frame) for frame in open_table(tmp_path / "a.csv").chunks([0, 1])) == 250


@pytest.mark.usefixtures("little_memory")
def test_a_cine_of_a_hundred_million_voxels(tmp_path):
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape((512, 512, 8, 48))
    header.set_data_dtype(np.int16)
    header["pixdim"][1:4], header["vox_offset"], header["magic"] = 1.8, 352, b"n+1"
    content = bomb(header.binaryblock + bytes(4), bytes(4 * MEGABYTE), 48)
    (tmp_path / "sa.nii.gz").write_bytes(content)
    with pytest.raises(UserError, match="sa.nii.gz: its header says 512 x 512 x 8 x 48 voxels, more than can be read"):
        read_short_axis(tmp_path)


@pytest.mark.usefixtures("little_memory")
def test_a_wfdb_header_that_claims_a_trillion_samples(tmp_path):
    (tmp_path / "a.dat").write_bytes(bytes(240))
    for line in ("a 1 500 1000000000000", "a 1 500 99999999999999999999999", "a 999999999999 500 10"):
        (tmp_path / "a.hea").write_text(f"{line}\na.dat 16 200/mV 16 0 0 0 0 I\n")
        with pytest.raises(UserError, match="a.hea: claims more than"):
            read_ecg(tmp_path / "a.hea")
