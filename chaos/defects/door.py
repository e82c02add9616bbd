"""Defects of the door: who may come in, and where it stands."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from chaos.defects.defect import Change, Defect
from reference_daemon import door, settings
from reference_daemon.door import Door
from reference_daemon.policy.errors import ConfigError
from reference_daemon.token_guard import Penalty, TokenGuard


def token_by_prefix() -> tuple[Change, ...]:
    """A token that begins like the right one is enough."""

    def admits(self: TokenGuard, token: str | None) -> bool:
        if self._token is None:
            return True
        given = (token or "").encode("utf-8", "surrogatepass")
        return bool(given) and self._token.startswith(given)

    return (Change(TokenGuard, "admits", admits),)


def origin_unchecked() -> tuple[Change, ...]:
    """Any page may connect."""
    check = Door.check

    async def without_origin(self: Door, connection: ServerConnection, request: Request) -> Response | None:
        if "Origin" in request.headers:
            del request.headers["Origin"]
        return await check(self, connection, request)

    return (Change(Door, "check", without_origin),)


def origin_by_suffix() -> tuple[Change, ...]:
    """A page may connect if the name of its host begins or ends as one that is allowed, or as this machine's."""
    check = Door.check

    async def loose(self: Door, connection: ServerConnection, request: Request) -> Response | None:
        hosts = ["localhost", *(urlsplit(each).hostname or each for each in self._settings.allowed_origins)]
        for origin in request.headers.get_all("Origin"):
            host = urlsplit(origin).hostname or ""
            if any(host.endswith(each) or host.startswith(each) for each in hosts):
                del request.headers["Origin"]
                break
        return await check(self, connection, request)

    return (Change(Door, "check", loose),)


def host_unchecked() -> tuple[Change, ...]:
    """The daemon answers for any name, as after a rebinding of DNS."""

    def host_fits(self: Door, hosts: list[str]) -> bool:  # noqa: ARG001 - that is the defect
        return True

    return (Change(Door, "_host_fits", host_fits),)


def failed_rotation() -> tuple[Change, ...]:
    """A rotation that fails sets the new token all the same."""
    rotate = TokenGuard.rotate

    def setting(self: TokenGuard, old: str, new: str) -> str | None:
        problem = rotate(self, old, new)
        if self._token is not None:
            self._token = new.encode("utf-8", "surrogatepass")
        return problem

    return (Change(TokenGuard, "rotate", setting),)


def all_interfaces() -> tuple[Change, ...]:
    """Every address is taken for this machine's alone, so that the daemon would bind one that others reach.

    Nothing is bound by this: it is the decision that lets the settings pass which is wrong.
    """

    def is_loopback(host: str) -> bool:  # noqa: ARG001 - that is the defect
        return True

    return (Change(settings, "is_loopback", is_loopback),)


def token_case_folded() -> tuple[Change, ...]:
    """A token is compared without looking at upper and lower case."""
    admits = TokenGuard.admits

    def folded(self: TokenGuard, token: str | None) -> bool:
        if self._token is None:
            return True
        return admits(self, token) or (token or "").casefold() == self._token.decode().casefold()

    return (Change(TokenGuard, "admits", folded),)


def old_token_stays() -> tuple[Change, ...]:
    """After a rotation the old token lets in, too."""
    admits, rotate = TokenGuard.admits, TokenGuard.rotate

    def either(self: TokenGuard, token: str | None) -> bool:
        return admits(self, token) or (token or "") in vars(self).get("former", [])

    def remembering(self: TokenGuard, old: str, new: str) -> str | None:
        problem = rotate(self, old, new)
        if problem is None:
            vars(self).setdefault("former", []).append(old)
        return problem

    return Change(TokenGuard, "admits", either), Change(TokenGuard, "rotate", remembering)


def settings_taken_together() -> tuple[Change, ...]:
    """The daemon starts with settings of which each is right and the whole is wrong."""

    def refusals(wrong: settings.Settings) -> list[ConfigError]:  # noqa: ARG001 - that is the defect
        return []

    return (Change(settings, "refusals", refusals),)


def strangers_unbounded() -> tuple[Change, ...]:
    """As many connections as like may say nothing."""
    return (Change(door, "MAX_STRANGERS", 1_000_000),)


def pages_for_everybody() -> tuple[Change, ...]:
    """Metrics and health are shown to those without the token, too."""

    async def serve(self: Door, page: Callable[[], tuple[int, str, bytes]], headers: Headers) -> Response:  # noqa: ARG001 - that is the defect
        status, content_type, body = page()
        return Response(status, "OK", Headers([("Content-Type", content_type), ("Connection", "close")]), body)

    return (Change(Door, "_serve", serve),)


def rotation_not_slowed() -> tuple[Change, ...]:
    """Old tokens may be guessed over one connection, one after another."""

    def runs(self: Penalty) -> bool:  # noqa: ARG001 - that is the defect
        return False

    return (Change(Penalty, "runs", runs),)


DEFECTS: Final = (
    Defect(
        name="token-by-prefix",
        title="the first characters of the token are enough",
        rule="INV-33",
        stage="protocol",
        where="daemon",
        changes=token_by_prefix,
    ),
    Defect(
        name="origin-unchecked",
        title="any page may connect",
        rule="INV-31",
        stage="protocol",
        where="daemon",
        changes=origin_unchecked,
    ),
    Defect(
        name="origin-by-suffix",
        title="a page may connect whose host only looks like one that is allowed",
        rule="INV-31",
        stage="protocol",
        where="daemon",
        changes=origin_by_suffix,
    ),
    Defect(
        name="host-unchecked",
        title="the daemon answers for any host",
        rule="INV-31",
        stage="protocol",
        where="daemon",
        changes=host_unchecked,
    ),
    Defect(
        name="failed-rotation-sets-token",
        title="a rotation that fails sets the new token",
        rule="INV-34",
        also=("INV-33",),
        stage="protocol",
        where="daemon",
        changes=failed_rotation,
    ),
    Defect(
        name="binds-all-interfaces",
        title="every address is taken for loopback",
        rule="INV-38",
        stage="protocol",
        where="daemon",
        changes=all_interfaces,
    ),
    Defect(
        name="token-case-folded",
        title="a token is right in upper or lower case",
        rule="INV-33",
        stage="protocol",
        where="daemon",
        changes=token_case_folded,
    ),
    Defect(
        name="old-token-stays",
        title="the old token lets in after a rotation",
        rule="INV-34",
        stage="protocol",
        where="daemon",
        changes=old_token_stays,
    ),
    Defect(
        name="settings-not-compared",
        title="the daemon starts with a heartbeat that is over the deadline",
        rule="INV-30",
        also=("INV-38",),
        stage="protocol",
        where="daemon",
        changes=settings_taken_together,
    ),
    Defect(
        name="strangers-unbounded",
        title="as many connections as like may say nothing",
        rule="INV-32",
        stage="protocol",
        where="daemon",
        changes=strangers_unbounded,
    ),
    Defect(
        name="pages-for-everybody",
        title="metrics and health need no token",
        rule="INV-33",
        stage="protocol",
        where="daemon",
        changes=pages_for_everybody,
    ),
    Defect(
        name="rotation-not-slowed",
        title="the old token may be guessed over one connection",
        rule="INV-34",
        stage="protocol",
        where="daemon",
        changes=rotation_not_slowed,
    ),
)
