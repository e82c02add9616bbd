"""The plots of a report, drawn without pyplot, so that no global figure is left behind."""
