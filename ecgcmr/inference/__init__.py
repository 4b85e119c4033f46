"""What becomes of a trained model: intervals, calibrated risks, distance, verdicts for one recording at a time."""
