"""The same calls in the model and on the real daemon."""
