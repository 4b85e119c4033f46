"""The trainer that a fit is given: what of it is ours, and what a config may say otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from ecgcmr.training.run_session import RunSession
from ecgcmr.training.trainer import make_trainer


@pytest.mark.parametrize(
    ("strategy", "as_views"),
    [("ddp", True), ("auto", True), (DDPStrategy(gradient_as_bucket_view=False), False)],
    ids=["by name", "by itself", "as the config says"],
)
def test_gradients_lie_where_they_are_exchanged(strategy: Any, as_views: bool) -> None:
    settings = {"accelerator": "cpu", "devices": 2, "strategy": strategy, "logger": False}
    made = make_trainer(settings, lambda ready: Trainer(**ready), RunSession("fit"), fits=True)
    assert isinstance(made.strategy, DDPStrategy)
    assert made.strategy._ddp_kwargs["gradient_as_bucket_view"] is as_views
