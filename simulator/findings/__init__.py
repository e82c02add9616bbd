"""What the strategy claims about caps, TTLs and retries, each as an experiment that can be run again."""
