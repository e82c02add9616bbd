"""The frames of the OpenAI-compatible API, as far as the stub speaks it: what it reads, and what it answers.

Pure: request bytes in, answer bytes out.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

# Enough for a long prompt over many files; above it a client is out of hand.
MAX_REQUEST_BYTES = 8 * 1024 * 1024
# Usual for English text and code; the stub counts no real tokens.
_CHARACTERS_PER_TOKEN = 4
_NONCE = re.compile(r"nonce:[A-Za-z0-9_-]{1,64}")

# 200 answers that break the API, each in its own way: no choices, no JSON, cut off, wrong types, an empty
# body.
MALFORMED_BODIES = (
    b'{"object": "chat.completion", "choices": []}',
    b"<html><body>Bad gateway</body></html>",
    b'{"object": "chat.completion", "choices": [{"mess',
    b'{"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": 7}}]}',
    b"",
)


class BadRequestError(Exception):
    """A request breaks the API.

    Attributes:
        reason: What is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None

    def text(self) -> str:
        """Return the message's text, its parts joined."""
        if isinstance(self.content, list):
            return "\n".join(str(part.get("text", "")) for part in self.content)
        return self.content or ""


class _ChatRequest(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """What the stub uses of a chat request.

    Attributes:
        model: The model asked for.
        nonce: The token `nonce:...` of the last user message; None if it has none.
        tokens: Roughly the tokens of all messages.
    """

    model: str
    nonce: str | None
    tokens: int


def read_question(body: bytes) -> Question:
    """Read the body of a chat request.

    Raises:
        BadRequestError: It is no JSON, has no model or no messages, or asks for a stream.
    """
    try:
        request = msgspec.json.decode(body, type=_ChatRequest)
    except msgspec.DecodeError as error:
        raise BadRequestError(str(error)) from error
    if request.stream:
        raise BadRequestError("this stub does not stream")
    if not request.messages:
        raise BadRequestError("messages is empty")
    last = next((message.text() for message in reversed(request.messages) if message.role == "user"), "")
    found = _NONCE.search(last)
    return Question(request.model, found[0] if found else None, _tokens("".join(m.text() for m in request.messages)))


def write_answer(provider: str, question: Question, execution: int, created: int) -> bytes:
    """Write the answer to a chat request; its text says that it comes from a stub, and repeats the nonce."""
    words = [f"[stub {provider} {question.model}]", "No model has read this request; the answer is made up."]
    text = " ".join([*words, question.nonce] if question.nonce else words)
    message = {"role": "assistant", "content": text}
    used = _tokens(text)
    return msgspec.json.encode(
        {
            "id": f"stub-{execution}",
            "object": "chat.completion",
            "created": created,
            "model": question.model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": question.tokens,
                "completion_tokens": used,
                "total_tokens": question.tokens + used,
            },
        }
    )


def write_models(provider: str, models: tuple[str, ...]) -> bytes:
    """Write the list of a provider's models, the default first."""
    listed = [{"id": model, "object": "model", "created": 0, "owned_by": f"stub-{provider}"} for model in models]
    return msgspec.json.encode({"object": "list", "data": listed})


def write_error(message: str, kind: str) -> bytes:
    """Write an error in the API's form."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "code": kind}})


def _tokens(text: str) -> int:
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)
