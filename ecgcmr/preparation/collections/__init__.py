"""Data sets: what one is, the three that are known, and how one of the user's own is taken."""

from ecgcmr.label_declarations import DeclaredLabel, load_labels
from ecgcmr.preparation.collections.protocol import Candidate, Collection, SearchNotes

__all__ = ["Candidate", "Collection", "DeclaredLabel", "SearchNotes", "load_labels"]
