"""A checkpoint whose tensors are cut, which a look at its plain values does not see, is refused in one line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from ecgcmr.errors import UserError
from ecgcmr.training.whole_checkpoints import WholeCheckpoints


def test_a_record_that_is_shorter_than_its_tensor_is_one_line(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.ckpt", tmp_path / "last.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(4)}}, good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for member in source.infolist():
            content = source.read(member)
            target.writestr(member.filename, content[:3] if member.filename.endswith("data/0") else content)
    assert WholeCheckpoints().load_checkpoint(good)["state_dict"]["weight"].tolist() == [1.0] * 4
    with pytest.raises(UserError, match=r"^ckpt_path: .*last.ckpt is damaged \(RuntimeError\); name another") as error:
        WholeCheckpoints().load_checkpoint(bad)
    assert str(error.value).isprintable()
