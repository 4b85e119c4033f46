"""Figures of the interpretation, a file each; colours and sizes of all of them are in `style`."""
