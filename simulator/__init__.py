"""The model: the daemon's own decisions on a virtual clock, in front of modelled providers."""
