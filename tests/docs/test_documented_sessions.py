"""The tutorials and the home page, run from their first command to their last."""

from __future__ import annotations

from pathlib import Path

import pytest
from documented_sessions import KEY, SESSIONS, run_page

from ecgcmr.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files of twelve synthetic subjects, as `ecgcmr synthesize --format raw` writes them."""
    out = tmp_path_factory.mktemp("documented") / "raw"
    sizes = ["--subjects", "12", "--seed", "3", "--workers", "1"]
    assert main(["synthesize", *sizes, "--out", str(out), "--format", "raw"]) == 0
    return out


@pytest.mark.parametrize("page", SESSIONS)
def test_the_commands_of_a_page_run_in_their_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cohort_root: Path, raw: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "ecgcmr").mkdir(parents=True)
    (tmp_path / "config" / "ecgcmr" / "subject.key").write_bytes(KEY)
    done = run_page(page, tmp_path, cohort_root, raw)
    if page != "CONTRIBUTING.md":  # which names make alone
        assert "fit" in done
