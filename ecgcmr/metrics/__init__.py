"""Metrics of every task, their bootstrap over subjects, corrections for many targets. Arrays in, numbers out."""
