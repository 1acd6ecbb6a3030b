"""Optimisation: schedule, step, checkpoints, trainer."""
