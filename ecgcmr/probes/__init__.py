"""Predictors on frozen features (ridge, logistic, Cox, boosting) and the classical ECG features they compete with."""
