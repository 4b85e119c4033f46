"""A batch of one recording is no contrast: every objective says so in one line, and takes two."""

from __future__ import annotations

import pytest
import torch
from distributed_objectives import OBJECTIVES, Pair, global_batch

from ecgcmr.errors import UserError

CONTRASTIVE = [name for name in OBJECTIVES if not name.startswith("labels")]


@pytest.mark.parametrize("name", CONTRASTIVE)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_one_recording_is_refused_and_two_are_not(name: str, training: bool) -> None:
    pair = Pair(name).train(training)
    with pytest.raises(UserError, match=r"one recording .*data\.batch_size") as refused:
        pair(global_batch(name, 1))
    assert "\n" not in str(refused.value)
    assert torch.isfinite(pair(global_batch(name, 2)))
