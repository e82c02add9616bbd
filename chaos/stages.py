"""The stages of the verification plan, in their order."""

from typing import Final

STAGES: Final[dict[str, str | None]] = {
    "smoke": "01-smoke-sequential",
    "parallel": "02-parallel",
    "backpressure": "03-backpressure",
    "chaos": "04-chaos",
    "protocol": None,
}
"""Stage and its scenario; the protocol stage asks its questions by raw clients."""
