"""Puts a scenario's faults on at their moments, takes them off whatever happens, and proves that each bit."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from chaos.canary import Link, Trip
from chaos.fault_proofs import describe, has_bitten, least_s, probe_of
from chaos.provider_admin import change_provider, read_provider, restore_provider
from chaos.toxics import wire_toxics
from chaos.toxiproxy import Proxy
from reference_daemon.clock import Clock
from scenarios.events import AnyEvent, FaultMove
from scenarios.model_faults import Fault, Toxic
from scenarios.run import FaultProof, FaultWindow

_TRIPS: Final = 3
_HEALING: Final = 20
"""Trips until one must be as it was before the fault: a busy machine slows some, a fault all of them."""

_END_WITHIN_S: Final = 240.0
"""Seconds in which a daemon must end after SIGTERM: more than any grace."""

_END_WALL_S: Final = 10.0
"""Wall seconds on top of it, whatever the time scale: no machine gets faster with it."""

_LEAD_S: Final = 0.1
"""Wall seconds before a fault at which the link is measured without it."""

_SIGKILL: Final = 9
"""Its number on every system that has it; the exit status of whoever it ended is less than 0 by it."""

_T = TypeVar("_T")


class DaemonControl(Protocol):
    """The daemon's process, as faults need it."""

    @property
    def pid(self) -> int | None:
        """Process id; None while it does not run."""

    def signal(self, name: str) -> None:
        """Send a signal."""

    async def wait_ended(self) -> int:
        """Wait until it has ended; return the exit status."""

    async def start_again(self) -> None:
        """Start it on its old port, and wait until it serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What faults can be put on.

    Attributes:
        proxies: The proxied links by name.
        daemon: The daemon's process; None: somebody else's.
        provider_admin: Origin of the stub provider's admin endpoint; None without a stub.
        proxied_ws_url: The daemon's address through its proxy.
    """

    proxies: Mapping[str, Proxy]
    daemon: DaemonControl | None
    provider_admin: str | None
    proxied_ws_url: str


class Injector:
    """Performs the faults of one run.

    Attributes:
        windows: The faults so far, with their proofs.
    """

    def __init__(
        self,
        targets: Targets,
        faults: Sequence[Fault],
        *,
        clock: Clock,
        start_at: float,
        note: Callable[[AnyEvent], None],
        say: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is put on yet."""
        self._targets, self._clock, self._start_at = targets, clock, start_at
        self._note, self._say = note, say
        self._faults = list(zip(names(faults), faults, strict=True))
        self._active: list[str] = []
        self.windows: list[FaultWindow] = []

    def active(self) -> tuple[str, ...]:
        """Return the names of the faults that are on."""
        return tuple(self._active)

    async def run(self) -> None:
        """Perform every fault on its schedule; however this ends, no fault is left on.

        Raises:
            ToxiproxyFailedError: A fault could not be put on, or not be taken off.
            ChildFailedError: The daemon did not come back.
        """
        tasks = [asyncio.ensure_future(self._perform(name, fault)) for name, fault in self._faults]
        if not tasks:
            return
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await finished(_all_ended(tasks))

    async def _perform(self, name: str, fault: Fault) -> None:
        await self._until(fault.at - _LEAD_S * 2 / self._clock.scale)
        why_not = self._why_not(fault)
        if why_not is not None:
            await self._miss(name, fault, why_not)
        elif fault.signal is not None:
            await self._signal(name, fault)
        elif fault.provider is not None:
            await self._provider(name, fault)
        else:
            await self._toxic(name, fault)

    def _why_not(self, fault: Fault) -> str | None:
        """Return why a fault cannot be put on; None if it can."""
        if fault.signal is not None and self._targets.daemon is None:
            return "the daemon is somebody else's process"
        if fault.provider is not None and self._targets.provider_admin is None:
            return "there is no stub provider"
        if fault.link is not None and fault.link not in self._targets.proxies:
            return f"there is no proxied link {fault.link}"
        return None

    async def _miss(self, name: str, fault: Fault, why_not: str) -> None:
        """Tell of a fault that cannot be put on: it did not bite."""
        await self._until(fault.at)
        at = self._since()
        title = title_of(fault)
        self._say(f"fault missed: {title}: {why_not}")
        proof = FaultProof(bit=False, healed=None, evidence=f"it was not put on: {why_not}")
        link = fault.link or (f"provider:{fault.provider.name}" if fault.provider else "daemon")
        self.windows.append(FaultWindow(name=name, title=title, link=link, started_at=at, ended_at=at, proof=proof))

    # --- toxics ------------------------------------------------------------------------------------------------------

    async def _toxic(self, name: str, fault: Fault) -> None:
        link, probe = self._link(fault.link or ""), probe_of(fault, self._clock)
        before = await self._trips(link, _TRIPS, probe.patience_s, probe.padding)
        await self._until(fault.at)
        async with self._window(name, fault, title_of(fault), fault.link or ""), self._on(fault):
            end_at = fault.at + (fault.duration or 0.0)
            tries = _TRIPS if fault.toxicity == 1.0 else 3 * _TRIPS
            during: list[Trip] = []
            while len(during) < tries and (not during or self._since() < end_at):
                during += await self._trips(link, 1, probe.patience_s, probe.padding)
            await self._until(end_at)
        bit = has_bitten(fault, before, during, self._clock)
        if fault.toxicity < 1.0 and not bit:
            bit = None  # it is rolled for each connection
        healed, after = await self._healed(fault, link, before, probe.patience_s, probe.padding)
        bound = f", at least {least_s(fault, before, self._clock) * 1000:.0f} ms with it" if _has_bound(fault) else ""
        evidence = f"before: {describe(before)}; during: {describe(during)}{bound}; after: {describe(after)}"
        self._prove(name, FaultProof(bit=bit, healed=healed, evidence=evidence))

    @contextlib.asynccontextmanager
    async def _on(self, fault: Fault) -> AsyncIterator[None]:
        """Put the toxics of a fault on, or take the link down, for as long as the context lasts."""
        proxy = self._targets.proxies[fault.link or ""]
        put_on: list[str] = []
        try:
            await finished(self._put_on(proxy, fault, put_on))
            yield
        finally:
            await finished(self._take_off(proxy, put_on, down=fault.toxic == "down"))

    async def _put_on(self, proxy: Proxy, fault: Fault, put_on: list[str]) -> None:
        if fault.toxic == "down":
            await proxy.cut()
        for toxic in wire_toxics(fault, self._clock):
            put_on.append(await proxy.add(toxic))  # noqa: PERF401 - what was put on before an error is taken off

    async def _take_off(self, proxy: Proxy, toxics: Sequence[str], *, down: bool) -> None:
        async with contextlib.AsyncExitStack() as each:  # one that fails does not keep the others on
            if down:
                each.push_async_callback(proxy.restore)
            for toxic in toxics:
                each.push_async_callback(proxy.remove, toxic)

    async def _healed(
        self, fault: Fault, link: Link, before: Sequence[Trip], patience_s: float, padding: int
    ) -> tuple[bool | None, list[Trip]]:
        """Look until a trip is as it was before."""
        after: list[Trip] = []
        for _ in range(_HEALING):
            after += await self._trips(link, 1, patience_s, padding)
            if after[-1].answered and has_bitten(fault, before, after[-1:], self._clock) is not True:
                return True, after[-1:]
        return (False if before and before[0].answered else None), after[-_TRIPS:]

    # --- providers ---------------------------------------------------------------------------------------------------

    async def _provider(self, name: str, fault: Fault) -> None:
        change, admin = fault.provider, self._targets.provider_admin
        assert change is not None  # noqa: S101 - the caller looked
        assert admin is not None  # noqa: S101 - the same
        await self._until(fault.at)
        async with self._window(name, fault, title_of(fault), f"provider:{change.name}"):
            before = await read_provider(admin, change.name)
            try:
                during = await finished(change_provider(admin, change))
                await self._until(fault.at + (fault.duration or 0.0))
            finally:
                after = await finished(restore_provider(admin, change.name, before))
        ending = "as before afterwards" if after == before else "not as before afterwards"
        proof = FaultProof(
            bit=during != before,
            healed=after == before,
            evidence=f"the provider's own word: {_differing(before, during)}, and {ending}",
        )
        self._prove(name, proof)

    # --- signals -----------------------------------------------------------------------------------------------------

    async def _signal(self, name: str, fault: Fault) -> None:
        daemon = self._targets.daemon
        assert daemon is not None  # noqa: S101 - the caller looked
        link = self._link("client-daemon")
        before = await self._trips(link, _TRIPS, 1.0, 0)
        await self._until(fault.at)
        if fault.signal == "SIGSTOP":
            async with self._window(name, fault, title_of(fault), "daemon"):
                daemon.signal("SIGSTOP")
                try:
                    during = await self._trips(link, 1, 0.3, 0)
                    await self._until(fault.at + (fault.duration or 0.0))
                finally:
                    daemon.signal("SIGCONT")
            bit, how = not during[0].answered, describe(during)
        else:
            async with self._window(name, fault, title_of(fault), "daemon"):
                daemon.signal(fault.signal or "")
                code = await self._ended(daemon)
                if fault.restart:
                    await self._until(fault.at + (fault.duration or 0.0))
                    await daemon.start_again()
            bit, how = fault.signal == "SIGTERM" or code == -_SIGKILL, f"the daemon ended with exit status {code}"
        healed = None
        if fault.signal == "SIGSTOP" or fault.restart:
            healed = any(trip.answered for trip in await self._trips(link, _TRIPS, 2.0, 0))
        evidence = (
            f"before: {describe(before)}; during: {how}; it {'answered' if healed else 'did not answer'} afterwards"
        )
        self._prove(name, FaultProof(bit=bit, healed=healed, evidence=evidence))

    async def _ended(self, daemon: DaemonControl) -> int:
        """Wait for the daemon's end; one that does not come is forced: the drill must go on, and the rules see it."""
        within_s = self._clock.wall_s(_END_WITHIN_S) + _END_WALL_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await daemon.wait_ended()
        self._say(f"the daemon did not end within {within_s:g} s and is killed")
        daemon.signal("SIGKILL")
        return await daemon.wait_ended()

    # --- bookkeeping -------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _window(self, name: str, fault: Fault, title: str, link: str) -> AsyncIterator[None]:
        """Note when a fault is on."""
        blinds = blinded_by(fault)
        self._say(f"fault on: {title}")
        self._note(FaultMove(at=self._since(), name=name, on=True, link=link, blinds=blinds))
        self._active.append(name)
        self.windows.append(FaultWindow(name=name, title=title, link=link, started_at=self._since()))
        try:
            yield
        finally:
            self._active.remove(name)
            self._replace(name, ended_at=self._since())
            self._note(FaultMove(at=self._since(), name=name, on=False, link=link, blinds=blinds))
            self._say(f"fault off: {title}")

    def _prove(self, name: str, proof: FaultProof) -> None:
        self._replace(name, proof=proof)

    def _replace(self, name: str, **changes: object) -> None:
        self.windows[:] = [
            replace(window, **changes) if window.name == name else window  # type: ignore[arg-type]
            for window in self.windows
        ]

    def _link(self, name: str) -> Link:
        provider = name.partition(":")[2]
        # The daemon answers 426 at "/", with a token or without; a page that needs the token is slow without it.
        path = f"/{provider}/v1/models" if provider else "/"
        return Link(self._targets.proxies[name].port, path)

    async def _trips(self, link: Link, number: int, patience_s: float, padding: int) -> list[Trip]:
        return [await link.trip(patience_s=patience_s, padding=padding) for _ in range(number)]

    async def _until(self, at: float) -> None:
        """Wait until a moment of the scenario."""
        delay_s = at - self._since()
        if delay_s > 0.0:
            await self._clock.sleep(delay_s)

    def _since(self) -> float:
        return self._clock.now() - self._start_at


async def finished(work: Coroutine[object, object, _T]) -> _T:
    """Do a piece of work to its end, and pass on a cancellation only then.

    What puts a fault on or takes it off runs in a thread, which a cancellation does not stop: a fault that was half
    put on would stay.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result


async def _all_ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


def names(faults: Sequence[Fault]) -> list[str]:
    """Return a name for each fault; those that would be the same get a number."""
    seen: Counter[str] = Counter()
    named = []
    for fault in faults:
        seen[fault.title] += 1
        number = seen[fault.title]
        named.append(fault.title if number == 1 else f"{fault.title}-{number}")
    return named


def blinded_by(fault: Fault) -> tuple[str, ...]:
    """Return the providers whose executions nobody can count while the fault is on."""
    provider = (fault.link or "").partition(":")[2]
    lost = fault.toxic == "down" or (
        isinstance(fault.toxic, Toxic) and fault.toxic.kind in {"timeout", "limit_data", "reset_peer"}
    )
    return (provider,) if provider and lost else ()


def title_of(fault: Fault) -> str:
    """Return what a fault is, with its numbers, for a person."""
    name = f"{fault.name}: " if fault.name else ""
    if fault.signal is not None:
        return f"{name}{fault.signal} to the daemon"
    if fault.provider is not None:
        change = fault.provider.model_dump(exclude_none=True, exclude={"name"})
        return f"{name}{fault.provider.name} {', '.join(f'{key} {value}' for key, value in change.items())}"
    if not isinstance(fault.toxic, Toxic):
        return f"{name}{fault.link} down"
    numbers = getattr(fault.toxic, fault.toxic.kind).model_dump()
    facts = ", ".join(f"{key} {value:g}" for key, value in numbers.items())
    way = "" if fault.stream == "both" else f" {fault.stream}"
    return f"{name}{fault.toxic.kind} on {fault.link}{way} ({facts})"


def _has_bound(fault: Fault) -> bool:
    return isinstance(fault.toxic, Toxic) and fault.toxic.kind in {"latency", "bandwidth"}


def _differing(before: Mapping[str, object], during: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {during[key]}" for key in during if during[key] != before.get(key)) or "nothing changed"
