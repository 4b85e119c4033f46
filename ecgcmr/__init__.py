"""ecgcmr: what a cardiac MRI shows, read from a ten-second 12-lead ECG."""

__version__ = "0.1.0"
