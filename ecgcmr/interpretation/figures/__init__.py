"""Figures of the interpretation, a file each; colours and sizes of all of them are in `style`."""

NARROW = "_narrow"
"""Behind the name of a figure that is there twice: the other file is drawn for narrow screens."""
