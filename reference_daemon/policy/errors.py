"""What the policy raises. Being full, late or a duplicate is no error: those are decisions.

HarnessError
├── ConfigError            a setting is outside the range that it allows (the user's fault)
└── PolicyError            the caller broke the contract of a class (our fault); nothing changed
    ├── IllegalMoveError   an event that a call's present state does not allow
    └── ClockWentBackError `now` is before an earlier `now`
"""

from typing import ClassVar


class HarnessError(Exception):
    """Base of every error that this project raises on purpose.

    Attributes:
        exit_code: Exit status of a command that ends with this error: 2 wrong usage or settings,
            3 the environment failed, 70 a bug of ours.
    """

    exit_code: ClassVar[int] = 3


class ConfigError(HarnessError):
    """A setting is outside the range that it allows.

    Attributes:
        setting: Name of the setting as the user wrote it, an EXAI_* name where there is one.
        value: The value that was refused.
        rule: What would be allowed, in words.
    """

    exit_code = 2

    def __init__(self, setting: str, value: object, rule: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(setting, value, rule)
        self.setting, self.value, self.rule = setting, value, rule

    def __str__(self) -> str:
        """Name the setting, its value and the rule."""
        return f"{self.setting} = {self.value!r}: {self.rule}"


class PolicyError(HarnessError):
    """The caller broke the contract of a policy class; the policy is unchanged."""

    exit_code = 70


class IllegalMoveError(PolicyError):
    """An event came that the call's present state does not allow.

    Attributes:
        call_id: The call.
        state: Name of its state, or "unknown" if the policy holds no such call.
        event: Name of the event.
    """

    def __init__(self, call_id: int, state: str, event: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(call_id, state, event)
        self.call_id, self.state, self.event = call_id, state, event

    def __str__(self) -> str:
        """Name the call, its state and the event."""
        return f"call {self.call_id} is {self.state}: {self.event} is not allowed"


class ClockWentBackError(PolicyError):
    """`now` is before the `now` of an earlier event.

    Attributes:
        now: The reading that was refused, in seconds.
        latest: The latest reading before it, in seconds.
    """

    def __init__(self, now: float, latest: float) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(now, latest)
        self.now, self.latest = now, latest

    def __str__(self) -> str:
        """Name both readings."""
        return f"the clock went back from {self.latest!r} to {self.now!r}"
