"""Files that are no ECG this program reads but are often taken for one: what they are and what to do instead."""

from __future__ import annotations

from collections.abc import Callable

_SAVE = (
    "save each recording, (leads, samples), with numpy.save as a .npy file and declare unit, rate and leads in ecg.yaml"
)
_TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP = b"PK\x03\x04"

Test = Callable[[bytes], bool]


def _begins(*magics: bytes) -> Test:
    return lambda head: head.startswith(magics)


def _zip_with(*names: bytes) -> Test:
    """An archive whose first member's name, at byte 30, is like this."""
    return lambda head: head.startswith(_ZIP) and any(name in head[30:200] for name in names)


_is_torch_zip, _is_npz = _zip_with(b"data.pkl", b"/.format_version"), _zip_with(b".npy")

_FOREIGN: tuple[tuple[Test, str], ...] = (
    (
        lambda head: head.startswith(_TORCH_LEGACY) or _is_torch_zip(head),
        f"is a PyTorch file (.pt), which can run code when it is opened and so never is; {_SAVE}",
    ),
    (_is_npz, f"is a NumPy archive of several arrays (.npz); {_SAVE}"),
    (
        _begins(_ZIP, b"PK\x05\x06"),
        "is a zip archive; unpack it, or if it holds images name its folder with --cmr",
    ),
    (
        lambda head: len(head) > 2 and head[0] == 0x80 and head[1] in range(2, 6) and head[2:3] in b"\x95c}](Xq\x8a",
        f"is a Python pickle, which can run code when it is opened and so never is; {_SAVE}",
    ),
    (_begins(b"\x89HDF\r\n\x1a\n"), f"is an HDF5 file, whose content has no agreed layout; {_SAVE}"),
    (_begins(b"MATLAB 7"), "is a MATLAB file of version 7.3; save its matrix again with save -v7"),
    (_begins(b"\xffBIOSEMI"), "is BDF, of 24 bits; save it as EDF"),
    (
        lambda head: head[4:32] == b"##NEUTRAL HOLTER RECORDING##",
        "is an EDAN Holter archive, which states no voltage; export it as EDF or SCP-ECG",
    ),
    (_begins(b"%PDF"), "is a PDF, a picture of an ECG; export the recording itself as XML or DICOM"),
    (_begins(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*"), "is a picture; export the recording itself"),
    (lambda head: head[344:347] in (b"n+1", b"ni1"), "is a NIfTI image; name the folder of the subjects with --cmr"),
    (
        lambda head: head[8:10] == b'{"' and head[3:8] == bytes(5),
        "holds weights of a network (safetensors)",
    ),
)


def is_archive_of_arrays(head: bytes) -> bool:
    """Tell from the first bytes whether a zip archive is a file of PyTorch or NumPy."""
    return _is_torch_zip(head) or _is_npz(head)


def foreign_kind(head: bytes) -> str | None:
    """Say from the first bytes what a file is that is no ECG of a known kind; None if it is not known either."""
    return next((text for test, text in _FOREIGN if test(head)), None)
