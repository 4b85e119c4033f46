"""`ecgcmr serve`: a model over HTTP, with a page for a file; needs the extra `serve`."""
