"""Which leads of a cohort's ECGs a model sees: a subset for all, and those of each record that are fit to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_modules.batch import Batch
from ecgcmr.errors import UserError
from ecgcmr.shards.index import ShardIndex
from ecgcmr.shards.layout import LEAD_FLAGS, LEADS, ECGLayout


class LeadChoice:
    """The leads that a data module gives out.

    Args:
        names: Names of the leads, in the order of a batch; None for all.
        leave_out: Flags of leads that stay in the batch and are marked in its ``lead_mask``.

    Raises:
        UserError: If a flag is unknown, no lead is named or one twice.
    """

    def __init__(self, names: Sequence[str] | None, leave_out: Sequence[str]) -> None:
        unknown = [flag for flag in leave_out if flag not in LEAD_FLAGS]
        if unknown:
            raise UserError(f"leave_out_leads {', '.join(unknown)}: choose of {', '.join(LEAD_FLAGS)}")
        if names is not None and (not names or len(set(names)) < len(names)):
            raise UserError(f"leads [{', '.join(names)}]: name at least one, and each once")
        self.names = names
        self.leave_out = leave_out
        self._columns: Tensor | None = None
        self._usable: Tensor | None = None

    def specification(self, ecg: ECGLayout) -> dict[str, Any]:
        """Return how many leads an encoder is fed and, if not the twelve in order, their places among them."""
        if self.names is None:
            all_twelve = tuple(ecg.leads) != LEADS and sorted(ecg.leads) == sorted(LEADS)
            order = {"lead_rows": tuple(LEADS.index(name) for name in ecg.leads)} if all_twelve else {}
            return {"leads": len(ecg.leads), **order}
        places = {"lead_rows": tuple(LEADS.index(name) for name in self.names)} if set(self.names) <= set(LEADS) else {}
        return {"leads": len(self.names), **places}

    def check(self, index: ShardIndex) -> None:
        """Compare the choice with the cohort.

        Raises:
            UserError: If the cohort lacks a lead (the message lists those it has) or stores no flags.
        """
        self.columns(index)
        self.usable(index)

    def columns(self, index: ShardIndex) -> Tensor | None:
        """Return where in a record the leads of a batch stand, (k,) int64; None for all of them, as they are."""
        if self._columns is None and self.names is not None:
            known = () if index.layout.ecg is None else index.layout.ecg.leads
            unknown = [name for name in self.names if name not in known]
            if unknown:
                raise UserError(f"leads {', '.join(unknown)}: this cohort has {', '.join(known) or 'no ECGs'}")
            self._columns = torch.tensor([known.index(name) for name in self.names])
        return self._columns

    def usable(self, index: ShardIndex) -> Tensor | None:
        """Return which leads of a batch carry no such flag, (rows of the index, k) bool, read once; None for all.

        What it says of rows without an ECG has no meaning.
        """
        if self._usable is None and self.leave_out:
            usable = torch.from_numpy(_without(index, self.leave_out))
            columns = self.columns(index)
            self._usable = usable if columns is None else usable[:, columns.cpu()]
        return self._usable

    def keep(self, index: ShardIndex, rows: np.ndarray) -> np.ndarray:
        """Return those of some rows that have a lead left."""
        usable = self.usable(index)
        return rows if usable is None else rows[usable.any(dim=1).cpu().numpy()[rows]]

    def of(self, batch: Batch, index: ShardIndex) -> Batch:
        """Return a batch with these leads, and with ``lead_mask`` where flags count."""
        result, row = batch.copy(), batch["row"]
        columns, usable = self.columns(index), self.usable(index)
        # Both tables go to the device once: looking up on the CPU would wait for it.
        if columns is not None:
            self._columns = columns = columns.to(row.device)
            result["ecg"] = batch["ecg"].index_select(1, columns)
        if usable is not None:
            self._usable = usable = usable.to(row.device)
            result["lead_mask"] = usable[row]
        return result


def _without(index: ShardIndex, flags: Sequence[str]) -> np.ndarray:
    """Tell which leads of each record have none of some flags, (rows of the index, leads) bool."""
    ecg = index.layout.ecg
    if ecg is None or not ecg.quality:
        raise UserError(f"leave_out_leads: {index.root} stores no lead quality; prepare it again without --no-beats")
    bits = np.uint8(sum(1 << LEAD_FLAGS.index(flag) for flag in flags))
    found = np.empty((len(index), len(ecg.leads)), dtype=np.uint8)
    for shard, where, row in index.by_shard(np.arange(len(index))):
        with index.reader(shard) as reader:
            found[where] = reader.lead_flags()[row]
    return (found & bits) == 0
