"""Drills: the real daemon under load, with real faults on its connections."""
