"""Reports from a run's history: statistics, plots, pages, CI files."""
