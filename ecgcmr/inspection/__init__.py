"""Looking into prepared cohorts, single shards and raw files: as text and as figures, never with an identity."""

from ecgcmr.inspection.ecg_paper import PaperECG, draw_ecg_paper
from ecgcmr.inspection.frames_figure import draw_frames, draw_slices
from ecgcmr.inspection.prepared import Prepared, open_prepared
from ecgcmr.inspection.summary import Distribution, distribution
