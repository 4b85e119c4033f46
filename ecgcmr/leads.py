"""The twelve standard leads, in the order that every file, shard and encoder of this project has."""

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
