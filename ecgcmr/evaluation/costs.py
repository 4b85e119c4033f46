"""What a network of a table costs, beside what it scores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CostRow:
    """The cost of one method's encoder, with all windows of a recording that it reads.

    Attributes:
        method: Of the table.
        parameters: Of its encoder.
        operations: For one recording, forward: a multiplication and an addition in products count as two.
        recordings_per_s: That went through it where it was measured.
        measured_on: The device, with the number of threads of a CPU.
        batch: Recordings at a time.
    """

    method: str
    parameters: int
    operations: int
    recordings_per_s: float
    measured_on: str
    batch: int
