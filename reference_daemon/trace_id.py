"""The trace_id of a call: what correlates it in client, shim, daemon and provider; it decides nothing.

It has the form of W3C Trace Context: 32 hex digits in lower case, not all of them zero.
"""

import re
import secrets
from typing import Final

_FORM: Final = re.compile(r"[0-9a-f]{32}")
_INVALID: Final = "0" * 32


def trace_id_of(sent: object) -> str:
    """Return the trace_id that was sent, or a new one if it is missing, malformed or no text."""
    if isinstance(sent, str) and sent != _INVALID and _FORM.fullmatch(sent):
        return sent
    return secrets.token_hex(16)
