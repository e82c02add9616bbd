"""What the daemon says of itself: log lines, metrics, events."""
