"""A cohort with known truth: one latent cardiac state per subject drives an ECG, a short-axis cine and diagnoses.

docs/synthesis.md tells the model and every link between heart and ECG.
"""
