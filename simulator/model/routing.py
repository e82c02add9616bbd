"""Which provider a tool asks when nobody names a model; a test holds it against the daemon's own router."""

from typing import Final

from reference_daemon.policy.events import CallKind

LOCAL: Final = frozenset({"version", "listmodels"})
CHATS: Final = frozenset({"chat", "kimi_chat_with_tools"})
_KIMI: Final = frozenset({"testgen", "kimi_chat_with_tools"})


def kind_of(tool: str, *, expert: bool) -> CallKind:
    """Return the kind of a call as the load makes it."""
    if tool in LOCAL:
        return CallKind.LOCAL
    if tool in CHATS:
        return CallKind.CHAT
    return CallKind.EXPERT if expert else CallKind.STEP


def provider_of(tool: str, kind: CallKind, model: str | None) -> str | None:
    """Return the provider whose slot the call needs; None if it needs none."""
    if kind in {CallKind.LOCAL, CallKind.STEP}:
        return None
    if model is not None and model != "auto":
        return "GLM" if model.startswith("glm-") else "KIMI"
    return "KIMI" if tool in _KIMI else "GLM"
