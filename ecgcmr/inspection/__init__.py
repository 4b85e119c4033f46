"""Looking into prepared cohorts, single shards and raw files: as text and as figures, never with an identity."""
