"""Use of what was trained: model folders, and embeddings and predictions of new recordings. No Lightning."""
