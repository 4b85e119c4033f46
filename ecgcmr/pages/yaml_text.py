"""Settings as YAML within a page, without folders of the machine and without secrets."""

from __future__ import annotations

from typing import Any

import yaml

from ecgcmr.pages.markup import Html, element, lines
from ecgcmr.private_text import harmless


def yaml_block(content: dict[str, Any]) -> Html:
    """Return settings as preformatted text that can be scrolled by keyboard."""
    written = yaml.safe_dump(harmless(content), sort_keys=False, allow_unicode=True, width=100)
    return element("pre", element("code", lines(written)), tabindex=0, role="region", aria_label="settings")
