from __future__ import annotations

import pytest

from ecgcmr.errors import UserError
from ecgcmr.formats.xml_file import MAX_XML_BYTES, parse_count, parse_number, parse_xml, root_name

BOMB = b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize(
    "content",
    [
        "<a><b>Müller</b></a>".encode("iso-8859-1"),
        "<a><b>Müller</b></a>".encode(),
        '<?xml version="1.0" encoding="UTF-8"?><a><b>Müller</b></a>'.encode("iso-8859-1"),
        b'<?xml version="1.0" encoding="no-such-code"?><a><b>x</b></a>',
        b"\xef\xbb\xbf<a><b>x</b></a>",
        '<?xml version="1.0" encoding="UTF-16"?><a><b>Müller</b></a>'.encode("utf-16"),
        '<?xml version="1.0" encoding="ISO-8859-1"?><a><b>Müller</b></a>'.encode("utf-16"),
        b'<!DOCTYPE a SYSTEM "somewhere.dtd"><a><b>x</b></a>',
        b"<a><b>&lt;&amp;&#65;</b></a>",
    ],
)
def test_every_encoding_seen_in_the_wild_is_parsed(content):
    root = parse_xml(content)
    assert root.tag == "a"
    assert root.findtext("b")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"<a>", "not well-formed XML at line 1"),
        (b"<a>\n\n<b></a>", "not well-formed XML at line 3"),
        (b"<a>\x00</a>", "not well-formed"),
        (b"<a/><a/>", "not well-formed"),
        (b"<a>&unknown;</a>", "not well-formed"),
        (BOMB, "document type"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "document type"),
        (b'<!DOCTYPE a [<!ENTITY % x SYSTEM "http://nowhere.invalid/x"> %x;]><a/>', "document type"),
        (b'<!DOCTYPE a SYSTEM "somewhere.dtd"><a>&x;</a>', "entities"),
        (b"<a>" * 101 + b"</a>" * 101, "levels"),
        (b"<a>" + b"<b/>" * 100_001 + b"</a>", "elements"),
        (b"<a>" + b" " * MAX_XML_BYTES + b"</a>", "larger than 16 MB"),
    ],
)
def test_what_is_damaged_or_hostile_is_refused(content, reason):
    with pytest.raises(UserError, match=reason):
        parse_xml(content)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<RestingECG>", "RestingECG"),
        (b'\xef\xbb\xbf <?xml version="1.0"?>\n<!-- <x> -->\n<!DOCTYPE y SYSTEM "z">\n<a b="1">', "a"),
        ("<a/>".encode("utf-16"), "a"),
        (b"<?xml version", ""),
        (b"I,II\n1,2", None),
        (b"", None),
    ],
)
def test_root_is_told_from_the_head(head, name):
    assert root_name(head) == name


def test_numbers_are_strict():
    assert [parse_number(text) for text in ("1e3", "-2.5", "1_0", "", "x", "1,5")] == [
        1000,
        -2.5,
        None,
        None,
        None,
        None,
    ]
    assert [parse_count(text) for text in ("12", "-1", "1.0", "²", "9" * 10, "9" * 5000)] == [12, *[None] * 5]
