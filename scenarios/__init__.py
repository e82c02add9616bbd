"""Scenarios: what is run, what happened, and the verdict on it."""
