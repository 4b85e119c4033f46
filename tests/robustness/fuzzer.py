"""Makes malformed ECG files out of good ones: the same files for the same seed.

Half of them are good files of a kind with random damage to their bytes; the other half are crafted: claims far beyond
the file, entity bombs, values that are no numbers, names that leave the folder.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from raw_file_writers import (
    LEADS,
    cardiosoft_xml,
    dicom_bytes,
    dicom_ecg_dataset,
    muse_xml,
    sample_counts,
    write_declaration,
    write_signal_table,
    write_wfdb_record,
)

SAMPLES = 800
Files = dict[str, bytes]  # by name; the first is the one to be read
Change = Callable[[bytes, np.random.Generator], bytes]


def malformed_ecgs(folder: Path, count: int, seed: int) -> list[Path]:
    """Write malformed ECGs, each in a folder of its own.

    Args:
        folder: Where.
        count: How many; the crafted ones come first, one of each sort, then random damage.
        seed: Of all random draws.

    Returns:
        The path to be read of each.
    """
    rng = np.random.default_rng(seed)
    good = good_ecgs(folder / "good")
    crafted = [_replaced(good[kind], change, rng) for kind, changes in CRAFTED.items() for change in changes]
    crafted += [
        {**good["npy"], "ecg.yaml": declaration} for declaration in DECLARATIONS
    ]  # the array is good, what is said of it is not
    paths = []
    for number in range(count):
        if number < len(crafted):
            files = crafted[number]
        else:
            kinds = list(good)
            files = _damaged(good[kinds[number % len(kinds)]], rng)
        own = folder / f"{number:04d}"
        own.mkdir(parents=True)
        for name, content in files.items():
            (own / name).write_bytes(content)
        paths.append(own / next(iter(files)))
    return paths


def good_ecgs(folder: Path, samples: int = SAMPLES) -> dict[str, Files]:
    """A good file of every kind, with what lies beside it."""
    counts = sample_counts(11, samples)
    header = write_wfdb_record(folder, signal=counts * 0.005)
    write_declaration(folder)
    write_signal_table(folder / "a.csv", counts * 0.005, digits=3)
    np.save(folder / "a.npy", counts * 0.005)
    declaration = (folder / "ecg.yaml").read_bytes()
    return _good_parquet(folder, counts, declaration) | {
        "cardiosoft": {"a.xml": cardiosoft_xml(counts)},
        "muse": {"a.xml": muse_xml(counts[[0, 1, 6, 7, 8, 9, 10, 11]])},
        "dicom": {"a.dcm": dicom_bytes(dicom_ecg_dataset(counts))},
        "wfdb": {"rec1.hea": header.read_bytes(), "rec1.dat": header.with_suffix(".dat").read_bytes()},
        "csv": {"a.csv": (folder / "a.csv").read_bytes(), "ecg.yaml": declaration},
        "npy": {"a.npy": (folder / "a.npy").read_bytes(), "ecg.yaml": declaration},
    }


def _good_parquet(folder: Path, counts: np.ndarray, declaration: bytes) -> dict[str, Files]:
    """A good Parquet file."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({lead: counts[i] * 0.005 for i, lead in enumerate(LEADS)})
    parquet.write_table(table, folder / "a.parquet")
    return {"parquet": {"a.parquet": (folder / "a.parquet").read_bytes(), "ecg.yaml": declaration}}


def _replaced(files: Files, change: Change, rng: np.random.Generator) -> Files:
    name = next(iter(files))
    return {**files, name: change(files[name], rng)}


def _damaged(files: Files, rng: np.random.Generator) -> Files:
    """One to three kinds of random damage to one of the files, mostly the first."""
    names = list(files)
    name = names[0] if rng.random() < 0.7 else names[rng.integers(len(names))]
    content = files[name]
    for _ in range(rng.integers(1, 4)):
        content = DAMAGE[rng.integers(len(DAMAGE))](content, rng)
    return {**files, name: content}


# --- random damage ----------------------------------------------------------------------------------------------------


def _span(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    begin = int(rng.integers(len(content) + 1))
    return begin, begin + int(rng.integers(1, 400))


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off the end, near the beginning half of the time."""
    return content[: int(rng.integers(max(1, min(len(content), 3000) if rng.random() < 0.5 else len(content))))]


def flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip up to fifty bits, in the head half of the time."""
    values = np.frombuffer(content, np.uint8).copy()
    reach = min(len(values), 2000) if rng.random() < 0.5 else len(values)
    if reach:
        where = rng.integers(reach, size=rng.integers(1, 51))
        values[where] ^= (1 << rng.integers(8, size=len(where))).astype(np.uint8)
    return values.tobytes()


def blank(content: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite a stretch with zeros."""
    begin, end = _span(content, rng)
    return content[:begin] + bytes(len(content[begin:end])) + content[end:]


def remove(content: bytes, rng: np.random.Generator) -> bytes:
    """Lose a stretch."""
    begin, end = _span(content, rng)
    return content[:begin] + content[end:]


def repeat(content: bytes, rng: np.random.Generator) -> bytes:
    """Have a stretch twice."""
    begin, end = _span(content, rng)
    return content[:end] + content[begin:]


def insert(content: bytes, rng: np.random.Generator) -> bytes:
    """Have noise in between."""
    begin, _ = _span(content, rng)
    return content[:begin] + rng.bytes(int(rng.integers(1, 200))) + content[begin:]


def change_digits(content: bytes, rng: np.random.Generator) -> bytes:
    """Change some digits of the head, so that text stays text."""
    values = np.frombuffer(content, np.uint8).copy()
    where = np.flatnonzero((values[:3000] >= ord("0")) & (values[:3000] <= ord("9")))
    if len(where):
        chosen = rng.choice(where, size=min(len(where), int(rng.integers(1, 12))), replace=False)
        values[chosen] = rng.choice(np.frombuffer(b"0123456789-.eE", np.uint8), size=len(chosen))
    return values.tobytes()


DAMAGE: tuple[Change, ...] = (truncate, flip_bits, blank, remove, repeat, insert, change_digits)


# --- crafted files ----------------------------------------------------------------------------------------------------


def swap(old: bytes, new: bytes) -> Change:
    """Replace a text that must be there."""

    def change(content: bytes, _: np.random.Generator) -> bytes:
        if old not in content:
            raise ValueError(f"{old!r} is not in the good file")
        return content.replace(old, new)

    return change


def whole(content: bytes) -> Change:
    """Replace the whole file."""
    return lambda _content, _rng: content


def expansion(levels: int, root: bytes) -> bytes:
    """A document that would expand tenfold at each level."""
    lines = [b'<!ENTITY e0 "ha">']
    lines += [b'<!ENTITY e%d "%s">' % (i, b"&e%d;" % (i - 1) * 10) for i in range(1, levels)]
    return b"<!DOCTYPE %s [%s]><%s>&e%d;</%s>" % (root, b"".join(lines), root, levels - 1, root)


def xml_crafted(root: bytes, rate: bytes) -> list[Change]:
    """What an XML reader has to withstand, whatever the root; ``rate`` is the text before the rate's value."""
    first = b"<" + root + b">"
    rates = (b"0", b"-500", b"nan", b"inf", b"1e300", b"1e-300", b"", b"five hundred", b"9" * 5000, b"5_00")
    return [
        whole(b""),
        whole(b"\n\t \n"),
        whole(b"<"),
        whole(b"<?xml version='1.0'?>"),
        whole(first),
        whole(first + b"</" + root + b">"),
        whole(b"<Something/>"),
        whole(b"\xff\xfe" + first),
        whole(expansion(10, root)),
        whole(b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///dev/zero">]>' + first + b"&x;</" + root + b">"),
        whole(b'<!DOCTYPE a [<!ENTITY %% x SYSTEM "file:///dev/random"> %%x;]>' + first),
        whole(first * 200_000),
        whole(first + b"<a/>" * 300_000 + b"</" + root + b">"),
        whole(b"<" + root + b"".join(b' a%d=""' % i for i in range(200_000)) + b"/>"),
        whole(first + b"<!--" + b"-" * 100 + b"-->" + b"<![CDATA[" + b"]" * 10_000),
        swap(first, b"<Other>"),
        swap(first, first + b"<StripData/><Waveform/>"),
        *(swap(rate + b"500<", rate + value + b"<") for value in rates),
    ]


def npy_header(shape: str, descr: str = "'<f8'") -> Change:
    """An array's header alone, with any claim."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"
    return whole(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())


def deflated_bomb(content: bytes, _: np.random.Generator) -> bytes:
    """A DICOM file of 200 KB that inflates to 200 MB."""
    syntax = b"1.2.840.10008.1.2.1\0"
    head = content[: content.index(syntax)].replace(b"\x02\x00\x10\x00UI\x14\x00", b"\x02\x00\x10\x00UI\x16\x00")
    return head + b"1.2.840.10008.1.2.1.99" + _bomb()


@cache
def _bomb() -> bytes:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezer.compress(bytes(200 * 2**20)) + squeezer.flush()


CRAFTED: dict[str, list[Change]] = {
    "cardiosoft": [
        *xml_crafted(b"CardiologyXML", b'<StripData><NumberOfLeads>12</NumberOfLeads><SampleRate units="Hz">'),
        swap(b"uVperLsb", b"furlong"),
        swap(b">5</Resolution", b">1e308</Resolution"),
        swap(b">5</Resolution", b">nan</Resolution"),
        swap(b"<ChannelSampleCountTotal>800", b"<ChannelSampleCountTotal>" + b"9" * 6000),
        swap(b'lead="V1"', b'lead="V2"'),
        swap(b'lead="V1"', b'lead=""'),
        swap(b'<WaveformData lead="V3">', b'<WaveformData lead="V3">nan,inf,-inf,1e999,'),
        swap(b'<WaveformData lead="V3">', b'<WaveformData lead="V3">' + b"," * 3_000_000),
        swap(b'<WaveformData lead="V3">', b'<WaveformData lead="V3">' + b"99999999999999999999,"),
        swap(b'<WaveformData lead="V3">', b'<WaveformData lead="V3"><WaveformData lead="V3">'),
    ],
    "muse": [
        *xml_crafted(b"RestingECG", b"<SampleBase>"),
        swap(b"<SampleExponent>0<", b"<SampleExponent>400<"),
        swap(b"<SampleExponent>0<", b"<SampleExponent>-nan<"),
        swap(b"Rhythm", b"Rhapsody"),
        swap(b"MICROVOLTS", b"VOLTAGE"),
        swap(b"Bit>4.88<", b"Bit>1e308<"),
        swap(b"Bit>4.88<", b"Bit>-4.88<"),
        swap(b"Total>800<", b"Total>800000000000<"),
        swap(b"<LeadSampleSize>2<", b"<LeadSampleSize>0<"),
        swap(b"<LeadID>V4</LeadID>", b""),
        swap(b"<WaveFormData>", b"<WaveFormData>===="),
        swap(b"<WaveFormData>", b"<WaveFormData>" + b"AAAA" * 1_500_000),
    ],
    "dicom": [
        whole(bytes(128) + b"DICM"),
        whole(bytes(128) + b"DICM" + b"\xff" * 4000),
        whole(bytes(128) + b"DICM" + bytes(4000)),
        whole(b"\x08\x00\x05\x00\x0a\x00\x00\x001.2.840.10008."),
        deflated_bomb,
        swap(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0"),
        swap(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"),
        swap((SAMPLES).to_bytes(4, "little"), b"\xff\xff\xff\xff"),
        swap(b"\x3a\x00\x05\x00US\x02\x00\x0c\x00", b"\x3a\x00\x05\x00US\x02\x00\xff\xff"),
        swap(b"DS\x06\x00500.0 ", b"DS\x06\x00 -inf "),
        swap(b"DS\x06\x00500.0 ", b"DS\x06\x001e9999"),
        swap(b"\x00\x54\x00\x01SQ\0\0", b"\x00\x54\x00\x01SQ\0\0\xf0\xff\xff\xff"),
        swap(b"\xfe\xff\x00\xe0", b"\xfe\xff\x00\xe0\xfe\xff\x00\xe0"),
        swap(b"CS\x02\x00SS", b"CS\x02\x00MB"),
        swap(b"DS\x04\x001.0 ", b"DS\x04\x00nan "),
        swap(b"DS\x04\x001.0 ", b"DS\x04\x00    "),
    ],
    "wfdb": [
        *(
            swap(b"rec1 12 500 800", line)
            for line in (
                b"rec1 1000000000 500 800",
                b"rec1 -1 500 800",
                b"rec1 12 0 800",
                b"rec1 12 -500 800",
                b"rec1 12 nan 800",
                b"rec1 12 1e99 800",
                b"rec1 12 500 999999999999999999999",
                b"rec1 12 500 8000000",
                b"rec1 12",
                b"rec1/100000 12 500 800",
                b"rec1 12 500/1e308(5) 800 99:99:99 99/99/9999",
                b"\x00rec1 12 500 800",
            )
        ),
        *(
            swap(b"rec1.dat 16 ", line)
            for line in (
                b"../rec1.dat 16 ",
                b"/dev/zero 16 ",
                b"..\\rec1.dat 16 ",
                b"http://example.org/a 16 ",
                b"rec1.hea 16 ",
                b". 16 ",
                b"~ 0 ",
                b"rec1.dat 16+999999999 ",
                b"rec1.dat 16x9999 ",
                b"rec1.dat 516 ",
                b"rec1.dat 8 ",
                b"rec1.dat 212 ",
                b"rec1.dat 99999 ",
                b"rec1.dat 16:999999 ",
            )
        ),
        swap(b" 200(0)/mV", b" 0(0)/mV"),
        swap(b" 200(0)/mV", b""),
        swap(b" 200(0)/mV", b" 1e-300(0)/mV"),
        swap(b" 200(0)/mV", b" 200(99999999999999999999)/mV"),
        swap(b"/mV", b"/mmHg"),
        swap(b" V6", b" V5"),
        swap(b"rec1 12 500 800\n", b"rec1 12 500 800\n" + b"# x\n" * 100_000),
    ],
    "csv": [
        whole(b"I,II\n"),
        whole(b"I,II\n" + b"nan,inf\n" * 100),
        whole(b"I,II\n" + b"1e999,-1e999\n" * 100),
        whole(b"I,II\n1,2\n" + b"3\n" * 100),
        whole(b"I,II\n" + b"\0" * 1000),
        whole(b"I;" * 500_000 + b"\n1;2\n"),
        whole(b"1," * 3_000_000),
        whole(b"I,II\n" + b"1,2\n" * 2_100_000),
        whole(b'I,"II\n1,2\n' + b'"' * 10_001),
        whole(b"I,II\r" + b"1,2\r" * 10 + b"0x10,1_0\r"),
        whole(b"\xff\xfe" + "I,II\n1,2\n".encode("utf-16-le")),
        swap(b"I,II,III", b"I,I,III"),
        swap(b"I,II,III", b"=cmd|' /C calc'!A0,II,III"),
    ],
    "npy": [
        npy_header("(12, 99999999999999999999)"),
        npy_header("(12, 2000000)"),
        npy_header("(12, -1)"),
        npy_header("(12, 1.5)"),
        npy_header("(12, True)"),
        npy_header("12"),
        npy_header("(" * 5000),
        npy_header("[" * 90 + "]" * 90),
        npy_header("(12, 10)", "'|O'"),
        npy_header("(12, 10)", "'|V99999999'"),
        npy_header("(12, 10)", "'<f8' * 10000000000"),
        npy_header("(12, 10)", "[('a', '<f8', (99999, 99999))]"),
        whole(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 1000),
        whole(b"\x93NUMPY\xff\xff"),
        swap(b"(12, 800)", b"(12, 801)"),
        swap(b"<f8", b">c8"),
        swap(b"<f8", b"<f4"),
    ],
}

_LIST = f"leads: [{', '.join(LEADS)}]\n".encode()
DECLARATIONS: tuple[bytes, ...] = (
    b"",
    b"\0\1\2",
    b"- " * 3000,
    b"[" * 20_000,
    b"a: &a [x, x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (i, i) for i in range(500)),
    b"!!python/object/apply:os.system ['true']",
    _LIST + b"unit: mV\nsampling_rate: .inf\n",
    _LIST + b"unit: mV\nsampling_rate: 1e400\n",
    _LIST + b"unit: mV\nsampling_rate: 500\nunit2: 3\n",
    _LIST + b"unit: [mV]\nsampling_rate: 500\n",
    b"leads: [1, 2]\nunit: mV\nsampling_rate: 500\n",
    b"leads: [" + b"I, " * 9000 + b"]\nunit: mV\nsampling_rate: 500\n",
    b"leads: {I: 1}\nunit: mV\nsampling_rate: 500\n",
    b"unit: mV\nsampling_rate: " + b"9" * 5000,
)
