"""The model: arrivals, clients, the daemon's decisions, providers and faults on a virtual clock."""
