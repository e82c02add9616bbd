"""Settings compared over a list or a range."""
