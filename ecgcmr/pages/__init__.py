"""An experiment, or the run of a stage, as one HTML page that needs nothing but itself."""
