"""Questions that raw clients put to a daemon and its shim, and what the logs say afterwards."""

from chaos.probes.logs import search_logs
from chaos.probes.run import run_probes
from chaos.probes.target import Target

__all__ = ["Target", "run_probes", "search_logs"]
