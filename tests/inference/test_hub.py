"""The hub, without a hub: a stub stands for huggingface_hub, a local folder for what it fetches."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tiny_model import write_tiny_model

import ecgcmr
from ecgcmr.cli import main
from ecgcmr.errors import UserError


class Hub(ModuleType):
    """Keeps repositories as folders, with the cache of the hub: files under blobs, a snapshot of links to them."""

    def __init__(self, home: Path) -> None:
        super().__init__("huggingface_hub")
        self.home = home
        self.calls: list[dict[str, Any]] = []

    def snapshot_download(self, name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.calls.append({"name": name, "revision": revision, "allow_patterns": allow_patterns})
        source = self.home / name
        if not source.is_dir():
            raise FileNotFoundError(f"404\nno repository {name}")
        cache = self.home / "cache"
        snapshot = cache / "snapshots" / (revision or "main")
        (cache / "blobs").mkdir(parents=True, exist_ok=True)
        snapshot.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            shutil.copy(path, cache / "blobs" / path.name)
            (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
        return str(snapshot)

    def HfApi(self) -> Any:  # noqa: N802 - the library's name
        return SimpleNamespace(create_repo=self.create_repo, upload_folder=self.upload_folder)

    def create_repo(self, name: str, **options: Any) -> None:
        self.calls.append({"create": name, **options})

    def upload_folder(self, *, repo_id: str, folder_path: str, allow_patterns: list[str], **options: Any) -> Any:
        (self.home / repo_id).mkdir(parents=True)
        for name in allow_patterns:
            shutil.copy(Path(folder_path) / name, self.home / repo_id / name)
        return SimpleNamespace(oid="abc123")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny_model(tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("# card\n")
    (tmp_path / "model" / "notes.txt").write_text("not of the model")
    return tmp_path / "model"


def test_what_is_pushed_is_loaded_again(hub: Hub, folder: Path, capsys: pytest.CaptureFixture):
    assert main(["push", str(folder), "owner/name"]) == 0
    assert capsys.readouterr().out.strip() == "hf://owner/name@abc123"
    assert hub.calls[0] == {"create": "owner/name", "private": True, "exist_ok": True, "repo_type": "model"}
    assert sorted(path.name for path in (hub.home / "owner" / "name").iterdir()) == [
        "README.md", "model.safetensors", "model.yaml",
    ]  # fmt: skip
    model = ecgcmr.load("hf://owner/name@abc123")
    assert model.description.name == "alignment"
    assert hub.calls[-1]["revision"] == "abc123"
    assert "model.yaml" in hub.calls[-1]["allow_patterns"]


def test_a_repository_that_links_out_of_the_cache_is_refused(hub: Hub, folder: Path, tmp_path: Path):
    main(["push", str(folder), "owner/name"])
    ecgcmr.load("hf://owner/name")
    outside = tmp_path / "outside.yaml"
    shutil.copy(folder / "model.yaml", outside)
    link = hub.home / "cache" / "blobs" / "model.yaml"
    link.unlink()
    link.symlink_to(outside)
    hub.snapshot_download = lambda *_, **__: str(hub.home / "cache" / "snapshots" / "main")  # type: ignore[method-assign]
    with pytest.raises(UserError, match="is a link that leads out of the model folder"):
        ecgcmr.load("hf://owner/name")


@pytest.mark.parametrize(
    "address", ["hf://owner", "hf://../name", "hf://owner/..", "hf://owner/na me", "hf://owner/name@", "hf://a/b/c"]
)
def test_an_address_that_is_none_is_refused_before_anything_is_fetched(hub: Hub, address: str):
    with pytest.raises(UserError, match="is no address of a model"):
        ecgcmr.load(address)
    assert hub.calls == []


def test_a_repository_that_is_not_there_is_refused_in_one_line(hub: Hub):
    with pytest.raises(UserError, match=r"hf://owner/none: cannot be fetched \(FileNotFoundError: 404 no repository"):
        ecgcmr.load("hf://owner/none")


def test_a_damaged_folder_is_not_pushed(hub: Hub, folder: Path, capsys: pytest.CaptureFixture):
    (folder / "model.safetensors").write_bytes(b"none")
    assert main(["push", str(folder), "owner/name"]) == 2
    assert "model.safetensors" in capsys.readouterr().err
    assert hub.calls == []


def test_without_the_extra_its_name_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'ecgcmr\[hub\]'"):
        ecgcmr.load("hf://owner/name")
