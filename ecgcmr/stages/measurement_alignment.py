"""ECGs aligned with what was measured of the heart, by echo or CMR, in place of images or beside them.

Measurements are labels of the cohort. Their scale is that of the rows that are trained on, and goes with the weights;
values of the test split are never read by a fit.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ecgcmr.encoders import StandardisingEncoder, require_encoder
from ecgcmr.objectives import CLIPLoss, ThreeWayContrast
from ecgcmr.objectives.protocol import FURTHER_INPUTS, THIRD
from ecgcmr.stages.modality_alignment import ModalityAlignment, Side
from ecgcmr.stages.protocol import MeasuredData, require_data

_SHARED = [name for name in FURTHER_INPUTS if not name.startswith("segments")]
_OFFERED_TO_TWO = [name for name in _SHARED if name != THIRD]
_OFFERED_TO_THREE = [name for name in _SHARED if not name.startswith("target")]


class _Measured(ModalityAlignment):
    """An alignment one of whose modalities is a vector of measurements."""

    measurement_encoder: Any  # meets StandardisingEncoder, checked at construction

    def _make_ready(self) -> None:
        """Give the encoder of measurements the scale of the training rows; weights that it starts from bring theirs."""
        data = require_data(self.data, MeasuredData, "an alignment with measurements")
        if self.trainer.state.fn == "fit" and not self.loads_checkpoint:
            self.measurement_encoder.standardise_by(*data.measurement_statistics())


class ECGMeasurementAlignment(_Measured):
    """Align an ECG encoder with an encoder of measurements by a contrastive objective.

    Args:
        ecg_encoder: ECG encoder; its weights are what later stages use.
        measurement_encoder: Encoder of the labels that ``data.measurements`` names.
        objective: Loss of (ECG projections, measurement projections) over the global batch; any of
            ``ecgcmr.objectives`` but those of images.
        ecg_encoder_weights: Run folder of a finished pre-training whose ECG encoder to start from.
        measurement_encoder_weights: Folder ``measurement_encoder`` of an earlier alignment; it brings its scale.
        options: Those of ``Contrast``; the ECG features are probed.
    """

    exports = {"encoder": "ecg_encoder", "measurement_encoder": "measurement_encoder"}

    def __init__(
        self,
        ecg_encoder: nn.Module,
        measurement_encoder: nn.Module,
        objective: nn.Module | None = None,
        ecg_encoder_weights: str | None = None,
        measurement_encoder_weights: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.ecg_encoder = require_encoder(ecg_encoder)
        self.measurement_encoder = require_encoder(measurement_encoder, StandardisingEncoder)
        self.ecg_projection = self._projection(self.ecg_encoder)
        self.measurement_projection = self._projection(self.measurement_encoder)
        self.ecg_encoder_weights = ecg_encoder_weights
        self.measurement_encoder_weights = measurement_encoder_weights
        self._contrast(objective or CLIPLoss(), _OFFERED_TO_TWO)

    @property
    def sides(self) -> list[Side]:
        """ECG, then measurements."""
        return [
            Side("ecg", "ecg", self.ecg_encoder, self.ecg_projection, self.ecg_encoder_weights),
            Side(
                "measurements",
                "measurement",
                self.measurement_encoder,
                self.measurement_projection,
                self.measurement_encoder_weights,
            ),
        ]


class ECGCMRMeasurementAlignment(_Measured):
    """Align ECG, images and measurements of the same subjects, each pair of them.

    Args:
        ecg_encoder: ECG encoder; its weights are what later stages use.
        cmr_encoder: CMR encoder.
        measurement_encoder: Encoder of the labels that ``data.measurements`` names.
        objective: Loss of three batches of projections; default ``ThreeWayContrast``.
        ecg_encoder_weights: Run folder of a finished pre-training whose ECG encoder to start from.
        cmr_encoder_weights: The same for the CMR encoder.
        measurement_encoder_weights: Folder ``measurement_encoder`` of an earlier alignment; it brings its scale.
        options: Those of ``Contrast``; the ECG features are probed.
    """

    exports = {
        "encoder": "ecg_encoder",
        "cmr_encoder": "cmr_encoder",
        "measurement_encoder": "measurement_encoder",
    }
    cmr_encoder: Any  # meets the encoder contract, checked at construction

    def __init__(
        self,
        ecg_encoder: nn.Module,
        cmr_encoder: nn.Module,
        measurement_encoder: nn.Module,
        objective: nn.Module | None = None,
        ecg_encoder_weights: str | None = None,
        cmr_encoder_weights: str | None = None,
        measurement_encoder_weights: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.ecg_encoder = require_encoder(ecg_encoder)
        self.cmr_encoder = require_encoder(cmr_encoder)
        self.measurement_encoder = require_encoder(measurement_encoder, StandardisingEncoder)
        self.ecg_projection = self._projection(self.ecg_encoder)
        self.cmr_projection = self._projection(self.cmr_encoder)
        self.measurement_projection = self._projection(self.measurement_encoder)
        self.ecg_encoder_weights = ecg_encoder_weights
        self.cmr_encoder_weights = cmr_encoder_weights
        self.measurement_encoder_weights = measurement_encoder_weights
        self._contrast(objective or ThreeWayContrast(), _OFFERED_TO_THREE)

    @property
    def sides(self) -> list[Side]:
        """ECG, images, then measurements."""
        return [
            Side("ecg", "ecg", self.ecg_encoder, self.ecg_projection, self.ecg_encoder_weights),
            Side("cmr", "cmr", self.cmr_encoder, self.cmr_projection, self.cmr_encoder_weights),
            Side(
                "measurements",
                "measurement",
                self.measurement_encoder,
                self.measurement_projection,
                self.measurement_encoder_weights,
            ),
        ]
