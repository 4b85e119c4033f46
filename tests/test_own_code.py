"""Code of the user's own that a config names has a digest of its text, and is not imported for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecgcmr.own_code import own_code_of, own_code_of_names


def test_this_package_and_what_it_stands_on_have_no_digest() -> None:
    content = {"model": {"class_path": "ecgcmr.stages.ECGMAE"}, "callbacks": [{"class_path": "lightning.X"}]}
    assert own_code_of([content, {"model.encoder.class_path": "torch.nn.Linear"}]) == {}


def test_the_digest_follows_every_module_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "labs_own"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "layers.py").write_text("WIDTH = 3")
    assert list(own_code_of_names(["labs_own.scores:Mine", "ecgcmr.metrics.catalogue:X"])) == ["labs_own"]
    overrides = {"model.encoder.class_path": "labs_own.encoder.Mine"}
    first = own_code_of(overrides)
    assert list(first) == ["labs_own"]
    assert own_code_of({"model": {"encoder": [{"class_path": "labs_own.encoder.Mine"}]}}) == first
    (package / "layers.py").write_text("WIDTH = 4")
    assert own_code_of(overrides) != first
    (package / "layers.py").write_text("WIDTH = 3")
    assert own_code_of(overrides) == first


@pytest.mark.slow
def test_a_single_module_and_an_installed_package_and_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alone.py").write_text("A = 1")
    found = own_code_of(
        [{"class_path": name} for name in ("alone.A", "h5py.File", "json.JSONEncoder", "no_such.Class")]
    )
    assert len(found["alone"]) == 64
    assert found["h5py"].startswith("h5py ")
    assert (found["json"], found["no_such"]) == ("standard library", "missing")
