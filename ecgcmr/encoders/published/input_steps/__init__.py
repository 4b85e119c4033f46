"""How encoders of others make their input of recordings in mV, with torch alone, where the batch lies."""

from ecgcmr.encoders.published.input_steps.filters import Butterworth, Decimate, FiniteBand, Notch
from ecgcmr.encoders.published.input_steps.resampling import Resample
from ecgcmr.encoders.published.input_steps.step import Constant, Operation, Shape, Step, precise
from ecgcmr.encoders.published.input_steps.values import Cut, MinusMedian, OneRow, PickLeads, Standardise, Stretch

__all__ = [
    "Butterworth",
    "Constant",
    "Cut",
    "Decimate",
    "FiniteBand",
    "MinusMedian",
    "Notch",
    "OneRow",
    "Operation",
    "PickLeads",
    "Resample",
    "Shape",
    "Standardise",
    "Step",
    "Stretch",
    "precise",
]
