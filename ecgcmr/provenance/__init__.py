"""Where a run comes from: its note ``run.json``, lists of runs, and whether one comes out the same again."""
