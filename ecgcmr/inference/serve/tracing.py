"""The picture of a recording for the page: on the paper of every other figure of an ECG, as PNG in memory."""

from __future__ import annotations

import base64
import io
import threading

from matplotlib.transforms import Bbox

from ecgcmr.inspection.paper_layout import PaperPlace, new_sheet
from ecgcmr.inspection.paper_tracing import PaperECG, draw_tracing
from ecgcmr.inspection.png import MM_PER_INCH
from ecgcmr.preparation.ecg import StandardECG

_PLACE = PaperPlace(bottom=40.0, height=125.0, rows=(22.0, 51.0, 80.0, 109.0), names=11.0)
_DPI = 130.0


class Tracer:
    """Draws recordings, one at a time: matplotlib's fonts are shared by its threads."""

    def __init__(self) -> None:
        """Start with no one drawing."""
        self._lock = threading.Lock()

    def draw(self, window: StandardECG) -> str:
        """Return a picture of 25 mm/s and 10 mm/mV as address of an image (``data:image/png;base64,...``).

        Args:
            window: In mV, before cleaning.
        """
        with self._lock:
            figure, axes = new_sheet()
            paper = PaperECG(window.signal, window.sampling_rate, "mV", derived=window.derived)
            draw_tracing(axes, paper, _PLACE)
            box = Bbox([[_PLACE.left - 0.5, _PLACE.bottom - 0.5], [_PLACE.right + 0.5, _PLACE.top + 0.5]])
            inches = Bbox(box.get_points() / MM_PER_INCH)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches=inches, metadata={"Software": None})
        return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
