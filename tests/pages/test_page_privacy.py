"""Paths lose their folders and secrets their values; all other text stays as it is."""

from __future__ import annotations

import pytest

from ecgcmr.pages.markup import element, text
from ecgcmr.private_text import harmless, without_folders


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("read /home/anna/x.csv, then ../../a/b.yaml", "read …/x.csv, then …/b.yaml"),
        ("C:\\Users\\anna\\y.csv and ~/data/k (/srv/p.csv)", "…/y.csv and …/k (…/p.csv)"),
        ("file:///home/anna/x", "…/x"),
        (
            "configs/mae/demo.yaml, val/loss, 3/4, mL/min, LV / RV",
            "configs/mae/demo.yaml, val/loss, 3/4, mL/min, LV / RV",
        ),
        ("https://arxiv.org/abs/2308.05764", "https://arxiv.org/abs/2308.05764"),
    ],
)
def test_a_path_keeps_its_last_name_alone(given: str, shown: str) -> None:
    assert without_folders(given) == shown


def test_settings_lose_folders_and_secrets_wherever_they_stand() -> None:
    given = {"root": "/home/Anna B/data", "sub": [{"api_key": "k", "lr": 1e-3}], "/home/anna/x": None, "u": "s3://me/f"}
    assert harmless(given) == {
        "root": "…/data", "sub": [{"api_key": "(not shown)", "lr": 1e-3}], "…/x": None, "u": "…/f",
    }  # fmt: skip


def test_what_is_no_markup_is_escaped_everywhere() -> None:
    made = element("a", "<b>", text("&"), title="\"'<", hidden=True, lang=None)
    assert made == '<a title="&quot;&#x27;&lt;" hidden>&lt;b&gt;&amp;</a>'
    assert element("p", "a\u202eb\x1b") == "<p>a\\u202eb\\x1b</p>"
