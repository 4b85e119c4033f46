"""What an objective needs beyond two projections, taken from the batch and the cohort's index."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from ecgcmr.errors import UserError
from ecgcmr.stages.protocol import StageData


class FurtherInputs:
    """Standardised phenotypes and patients' numbers of a batch, for objectives that ask for them.

    Args:
        needs: The objective's ``needs``; names of other inputs are left to the stage.
    """

    def __init__(self, needs: Collection[str]) -> None:
        self.needs = needs
        self._mean = self._deviation = torch.empty(0)
        self._subject = torch.empty(0, dtype=torch.int64)

    def load(self, data: StageData) -> None:
        """Read label statistics and subjects from the DataModule.

        Raises:
            UserError: Phenotypes are needed and ``data.labels`` names none.
        """
        if "phenotypes" in self.needs:
            if not data.label_names:
                raise UserError("data.labels is empty; the objective compares subjects by phenotypes: name some")
            self._mean, self._deviation = data.label_statistics(data.label_names)
        if "subjects" in self.needs:
            _, number = np.unique(data.index.subjects(), return_inverse=True)
            self._subject = torch.from_numpy(number.astype(np.int64))

    def of(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs of a batch, on its device."""
        result: dict[str, Tensor] = {}
        if "phenotypes" in self.needs:
            labels = batch["labels"]
            result["phenotypes"] = (labels - self._mean.to(labels)) / self._deviation.to(labels)
        if "subjects" in self.needs:
            row = batch["row"]
            self._subject = self._subject.to(row.device)  # once; looking up on the CPU would wait for the device
            result["subjects"] = self._subject[row]
        return result
