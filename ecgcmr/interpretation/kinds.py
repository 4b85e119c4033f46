"""Names of the analyses, and where each stands: known before anything heavy is imported."""

from __future__ import annotations

ENTRIES = {
    "localisation": ("ecgcmr.interpretation.localisation_report", "localisation"),
    "attribution": ("ecgcmr.interpretation.attribution", "attribution"),
    "retrieval": ("ecgcmr.interpretation.retrieval_report", "retrieval"),
    "embedding": ("ecgcmr.interpretation.embedding_report", "embedding"),
}
"""Kind -> module and name of its function ``(context, out)``, imported when it is asked for."""

KINDS = tuple(ENTRIES)
WRITES = {
    "localisation": ("localisation",),
    "attribution": ("attribution", "attention"),
    "retrieval": ("retrieval",),
    "embedding": ("embedding", "concepts", "projector"),
}
"""Kind -> starts of the names of its files."""
FEWEST_SUBJECTS = 3
"""That an analysis needs."""
