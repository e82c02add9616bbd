"""The load of a drill: virtual clients that call as a scenario says, and the witnesses of what comes of it."""

from chaos.load.driver import LoadDriver
from chaos.load.lag import LagProbe
from chaos.load.witness import Witness

__all__ = ["LagProbe", "LoadDriver", "Witness"]
