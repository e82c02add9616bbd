"""From recorded calls to a scenario."""
