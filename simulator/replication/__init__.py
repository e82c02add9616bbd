"""Many runs of a model, on all cores or a cluster, and what they say with intervals."""
