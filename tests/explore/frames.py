"""Frames as nobody should send them: valid ones, changed by structure or by letter, and sheer noise."""

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

SECRET: Final = "planted-argument-that-no-log-may-hold"

_IDS: Final = ("r-1", "r-2", "r-3", "r-4", "é-5", "\u202er-6")
_KEYS: Final = ("key-1", "key-2", "key-3")
_LONG: Final = 70_000


class Raw(str):
    """Text that goes into a frame as it is, JSON or not."""

    __slots__ = ()


Pairs = list[tuple[str, Any]]
"""An object's members; a name may come twice."""


def message(chance: Random) -> str | bytes:
    """Return a message: a text, or bytes for a frame that is no text or no UTF-8."""
    kind = chance.random()
    if kind < 0.02:
        return chance.choice((b"\x00\x01", b"", b"\xff\xfe{}"))
    if kind < 0.10:
        return _noise(chance)
    pairs = _template(chance)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        pairs = chance.choice(_CHANGES)(chance, pairs)
    text = _write(pairs)
    if chance.random() < 0.25:
        text = chance.choice(_LETTERS)(chance, text)
    return text


def _template(chance: Random) -> Pairs:
    """Return a valid frame."""
    request_id = chance.choice(_IDS)
    kind = chance.randrange(9)
    if kind < 4:
        return [("op", "call_tool"), ("request_id", request_id), *_call(chance)]
    return {
        4: [("op", "list_tools"), ("request_id", request_id)],
        5: [("op", "cancel"), ("request_id", request_id)],
        6: [("op", "attach"), ("request_id", request_id), ("call_key", chance.choice(_KEYS))],
        7: [("op", "health"), ("request_id", request_id)],
        8: [("op", "rotate_token"), ("old", "not-the-token-at-all"), ("new", SECRET), ("request_id", request_id)],
    }[kind]


def _call(chance: Random) -> Pairs:
    chat: Pairs = [("prompt", f"{SECRET} nonce:n"), ("model", "auto")]
    work: Pairs = [
        ("step", "Conclude."),
        ("step_number", 1),
        ("total_steps", 1),
        ("next_step_required", False),
        ("findings", SECRET),
        ("urls", ["https://example.org/"]),
    ]
    name, arguments = chance.choice((("chat", chat), ("version", []), ("listmodels", []), ("analyze", work)))
    pairs: Pairs = [("name", name), ("arguments", arguments)]
    if chance.random() < 0.4:
        pairs.append(("call_key", chance.choice(_KEYS)))
    if chance.random() < 0.4:
        pairs.append(("timeout", chance.choice((1, 5.5, 40))))
    if chance.random() < 0.4:
        pairs.append(("trace_id", f"{chance.getrandbits(120) + 1:032x}"))
    return pairs


def _strange(chance: Random) -> Any:
    """Return a value that fits nowhere, or nearly nowhere."""
    deep = chance.choice((10, 70, 600, 5_000))
    return chance.choice(
        (
            None,
            True,
            0,
            -1,
            2**64,
            2**200,
            1e308,
            Raw("1e999"),
            Raw("NaN"),
            Raw("-Infinity"),
            Raw("-0"),
            Raw("01"),
            "",
            " ",
            "\x00",
            "line\nbreak\r\x1b[31m",
            "\u202e\u2066bidi\u2069",
            Raw('"\\ud800"'),
            Raw('"\\ud83d\\ude00"'),
            Raw('"\\u0000"'),
            "\uff46\uff55\uff4c\uff4c",
            "x" * 256,
            "x" * _LONG,
            "__proto__",
            "hello",
            "call_tool_res",
            [],
            {},
            [SECRET],
            {"a": [1, {"b": None}]},
            Raw("[" * deep + "]" * deep),
            Raw('{"a":' * deep + "1" + "}" * deep),
        )
    )


# --- changes of structure ---------------------------------------------------------------------------------------------


def _drop(chance: Random, pairs: Pairs) -> Pairs:
    index = chance.randrange(len(pairs)) if pairs else 0
    return pairs[:index] + pairs[index + 1 :]


def _retype(chance: Random, pairs: Pairs) -> Pairs:
    if not pairs:
        return [("op", _strange(chance))]
    index = chance.randrange(len(pairs))
    name, value = pairs[index]
    if isinstance(value, list) and value and isinstance(value[0], tuple) and chance.random() < 0.7:
        value = chance.choice(_CHANGES)(chance, value)
    else:
        value = _strange(chance)
    return [*pairs[:index], (name, value), *pairs[index + 1 :]]


def _twice(chance: Random, pairs: Pairs) -> Pairs:
    if not pairs:
        return pairs
    name, value = chance.choice(pairs)
    return [*pairs, (name, value if chance.random() < 0.5 else _strange(chance))]


def _unknown(chance: Random, pairs: Pairs) -> Pairs:
    name = chance.choice(("", "x", "Op", "request_id\x00", "x" * 300, SECRET))
    return [*pairs, (name, _strange(chance))]


def _shuffled(chance: Random, pairs: Pairs) -> Pairs:
    pairs = list(pairs)
    chance.shuffle(pairs)
    return pairs


def _other_op(chance: Random, pairs: Pairs) -> Pairs:
    ops = ("hello", "call_tool_ack", "progress", "error", "", "CALL_TOOL", "x" * 300, "cancel", "attach", "health")
    return [(name, chance.choice(ops) if name == "op" else value) for name, value in pairs]


_CHANGES: Final[tuple[Callable[[Random, Pairs], Pairs], ...]] = (
    _drop,
    _retype,
    _retype,
    _retype,
    _twice,
    _unknown,
    _shuffled,
    _other_op,
)

# --- changes of letters -----------------------------------------------------------------------------------------------


def _cut_short(chance: Random, text: str) -> str:
    return text[: chance.randrange(len(text))] if text else text


def _one_letter(chance: Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    return (
        text[:at] + chance.choice(('"', "\\", "{", "}", ",", "\x00", "\x7f", " ", "é", "\U0001f600", "'")) + text[at:]
    )


def _without_letter(chance: Random, text: str) -> str:
    at = chance.randrange(len(text)) if text else 0
    return text[:at] + text[at + 1 :]


def _two_documents(chance: Random, text: str) -> str:
    return text + chance.choice(("", " ", "\n")) + text


def _wrapped(chance: Random, text: str) -> str:
    before, after = chance.choice(
        (("[", "]"), ('{"a":', "}"), ("\ufeff", ""), (" \n\t", " "), ('"', '"'), ("//\n", ""))
    )
    return before + text + after


_LETTERS: Final[tuple[Callable[[Random, str], str], ...]] = (
    _cut_short,
    _one_letter,
    _without_letter,
    _two_documents,
    _wrapped,
)


def _noise(chance: Random) -> str:
    some = "".join(chr(chance.choice((chance.randrange(32, 127), chance.randrange(0xD7FF)))) for _ in range(20))
    documents = ("", "null", "0", '"text"', "[]", "{}", "[[[[", "NaN", "{]", '{"op"', "{" * 5_000, "true", some)
    return chance.choice(documents)


def _write(value: Any) -> str:
    """Write JSON; members may come twice, and raw texts stand as they are."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, tuple) for item in value):
        return "{" + ",".join(f"{json.dumps(name)}:{_write(item)}" for name, item in value) + "}"
    return json.dumps(value, ensure_ascii=False)
