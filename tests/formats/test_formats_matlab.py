"""Matrices in MATLAB files: by the WFDB header beside them, or as declared."""

from __future__ import annotations

import numpy as np
import pytest
from library_file_writers import matlab_4, matlab_5, write_challenge_header
from raw_file_writers import LEADS, sample_counts, write_declaration

from ecgcmr.errors import UserError
from ecgcmr.formats import ecg_files, identify_ecg, read_ecg

COUNTS = sample_counts(3, 400)
FILES = {
    "version 4": matlab_4(COUNTS),
    "version 5": matlab_5(COUNTS.astype(np.int16), packed=False),
    "version 7": matlab_5(COUNTS.astype(np.int16)),
    "double": matlab_5(COUNTS.astype(float)),
    "other name": matlab_5(COUNTS.astype(np.int16), "ecg", text=np.array(["Anna"])),
}


@pytest.mark.parametrize("version", FILES)
def test_a_challenge_recording_by_either_of_its_files(tmp_path, version):
    (tmp_path / "JS00001.mat").write_bytes(FILES[version])
    write_challenge_header(tmp_path)
    for name in ("JS00001.hea", "JS00001.mat", "JS00001"):
        record = read_ecg(tmp_path / name)
        assert record.leads == LEADS
        assert record.sampling_rate == 500
        np.testing.assert_array_equal(record.signal, COUNTS / 1000)
    matrix, header = tmp_path / "JS00001.mat", tmp_path / "JS00001.hea"
    assert identify_ecg(matrix).kind == "mat"
    assert set(ecg_files(matrix)) == set(ecg_files(header)) == {matrix, header}


@pytest.mark.parametrize("version", FILES)
@pytest.mark.parametrize("turned", [False, True])
def test_without_a_header_it_is_declared_as_an_array_is(tmp_path, version, turned):
    content = FILES[version]
    if turned:
        content = matlab_4(COUNTS.T) if version == "version 4" else matlab_5(COUNTS.T.astype(np.int32))
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a.mat: .*lay its WFDB header a.hea beside it, or declare them in ecg.yaml"):
        read_ecg(path)
    write_declaration(tmp_path, unit="uV", rate=250)
    record = read_ecg(path)
    assert (record.leads, record.sampling_rate, record.format) == (LEADS, 250, "MATLAB matrix")
    np.testing.assert_allclose(record.signal, COUNTS / 1000, rtol=1e-12)
    assert ecg_files(path) == [path, tmp_path / "ecg.yaml"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (matlab_5(COUNTS.astype(complex)), "holds no matrix `val`|no matrix"),
        (matlab_5(np.array(["text"]), "name"), "holds no matrix `val`"),
        (matlab_5(COUNTS, "a", b=COUNTS), "holds no matrix `val`"),
        (matlab_5(COUNTS[:11]), "of which one must be the 12 declared leads"),
        (matlab_5(COUNTS.astype(np.int16))[:-400], "probably damaged"),
        (b"MATLAB 5.0 MAT-file" + bytes(200), "probably damaged|holds no matrix"),
    ],
)
def test_other_matrices_are_refused(tmp_path, content, reason):
    (tmp_path / "a.mat").write_bytes(content)
    write_declaration(tmp_path)
    with pytest.raises(UserError, match=f"a.mat: .*({reason})"):
        read_ecg(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("content", "samples", "reason"),
    [
        (matlab_5(COUNTS[:11].astype(np.int16)), 400, "does not hold a row for each signal"),
        (matlab_5(COUNTS.astype(np.int16)), 401, "shorter than the header says"),
        (matlab_5(COUNTS + 0.5), 400, "does not hold converter steps"),
        (matlab_5(np.full((12, 400), np.nan)), 400, "does not hold converter steps"),
    ],
)
def test_a_matrix_that_is_not_what_its_header_says(tmp_path, content, samples, reason):
    (tmp_path / "JS00001.mat").write_bytes(content)
    write_challenge_header(tmp_path, samples)
    with pytest.raises(UserError, match=f"JS00001.hea: .*{reason}"):
        read_ecg(tmp_path / "JS00001.hea")


def test_a_matrix_that_unpacks_without_measure_costs_nothing(tmp_path):
    (tmp_path / "a.mat").write_bytes(matlab_5(np.zeros((12, 1_100_000), np.int8)))  # 13 million samples in 13 KB
    write_declaration(tmp_path)
    with pytest.raises(UserError, match=r"a.mat: claims more than"):
        read_ecg(tmp_path / "a.mat")


def test_version_7_3_is_named(tmp_path):
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
    assert (
        "is a MATLAB file of version 7.3; save its matrix again with save -v7"
        in identify_ecg(tmp_path / "a.mat").reason
    )
