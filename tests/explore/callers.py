"""The clients of a run: reference clients, the real shim's dispatch, and raw ones that send what they like."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from itertools import count, pairwise
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast

import structlog
from mcp_types import CallToolRequestParams, CallToolResult
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from chaos.load.tap import FrameTap
from chaos.observe import Intent, ended
from reference_daemon import wire
from reference_daemon.channel import (
    Channel,
    ConnectionLostError,
    DaemonUnreachableError,
    HelloRefusedError,
    open_channel,
)
from reference_daemon.client import CallOutcome, CallResult, DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.policy.errors import HarnessError
from reference_daemon.settings import Settings
from reference_daemon.shim.server import Context, Shim
from scenarios.events import AnyEvent, HealthSeen, Probe
from scenarios.history import Call as Row
from tests.explore.house import TOKEN, URL
from tests.explore.plan import Ask, Attach, Call, Cancel
from tests.explore.provider import SECRET
from tests.explore.seeds import RAW, SHIM

ARGUMENT: Final = "what-only-the-tool-may-know"
"""Part of each call's arguments, which no log may hold."""

WITNESS: Final = "witness"
EXPERT_TOOLS: Final = frozenset({"analyze", "testgen"})
_FOREVER_S: Final = 100.0
"""Virtual seconds after which an answer is not waited for any longer."""

_LATE: Final = -1.0
"""Stands for progress that was reported after the answer."""

PROVIDERS: Final = {"chat": "GLM", "analyze": "GLM", "testgen": "KIMI", "kimi_chat_with_tools": "KIMI"}


def trace_of(n: int) -> str:
    """Return the trace_id of step number `n`."""
    return f"{n + 1:032x}"


def key_of(number: int) -> str:
    """Return an explicit key."""
    return f"key-{number}"


def arguments_of(tool: str, work: int) -> dict[str, Any]:
    """Return the arguments of a piece of work."""
    if tool == "version":
        return {}
    if tool not in EXPERT_TOOLS:
        return {"prompt": f"{ARGUMENT} nonce:w{work}"}
    return {
        "step": "Conclude.",
        "step_number": 1,
        "total_steps": 1,
        "next_step_required": False,
        "findings": f"{ARGUMENT} nonce:w{work}",
    }


class Callers:
    """Makes the clients' moves.

    Attributes:
        rows: Calls that have ended.
    """

    def __init__(
        self,
        clock: Clock,
        true_clock: Clock,
        settings: Settings,
        note: Callable[[AnyEvent], None],
        *,
        seed: int,
        instant: bool,
    ) -> None:
        """Connect nobody yet; clients run on `clock`, events are stamped by `true_clock`.

        `instant` says that what is sent has arrived in the same moment.
        """
        self._clock, self._true, self._settings, self._note, self._seed = clock, true_clock, settings, note, seed
        self._instant = instant
        self._used: set[tuple[str, str]] = set()
        self._acked: set[str] = set()
        self._numbers: Iterator[int] = count(1)
        self._made = Random(f"clients/{seed}")
        self._token = TOKEN
        self._clients: dict[str, DaemonClient] = {}
        self._old: list[DaemonClient] = []
        self._channels: dict[str, Channel] = {}
        self._dialling: dict[str, asyncio.Lock] = {}
        self._shim: Shim | None = None
        self.rows: list[Row] = []

    # --- reference clients and the shim ------------------------------------------------------------------------------

    def client(self, label: str) -> DaemonClient:
        """Return the client of that name."""
        if label not in self._clients:
            self._clients[label] = DaemonClient(
                URL,
                clock=self._clock,
                token=self._token,
                label=label,
                rng=Random(self._made.getrandbits(64)),
                tap=self._tap(label),
            )
        return self._clients[label]

    def _tap(self, label: str) -> FrameTap:
        witness = label == WITNESS
        return FrameTap(label, self._numbers, clock=self._true, start_at=0.0, note=self._note, witness=witness)

    async def call(self, step: Call) -> None:
        """Make a call, and write its row."""
        if step.client == SHIM:
            await self._call_by_shim(step)
        elif step.client in RAW:
            await self._call_raw(step)
        else:
            await self._call(step)

    async def _call(self, step: Call) -> None:
        seen: list[CallResult] = []
        began_at = self._true.now()
        asked = self._loop_task(self._ask_tool(step, seen.append))
        if step.cancel_s is not None:
            await asyncio.wait([asked], timeout=step.cancel_s)
            asked.cancel()
        await asyncio.wait([asked])
        if asked.cancelled():
            result = seen[0] if seen else CallResult(tool=step.tool, call_key="", trace_id="", intended_at=began_at)
            result.outcome, result.error, result.timeout_layer = CallOutcome.CANCELLED, None, None
            result.finished_at = self._clock.now()
        else:
            result = asked.result()
        self._no_secret(step, f"{result.outputs} {result.error}")
        self.rows.append(ended(_intent(step, began_at), result, start_at=0.0, faults=()))

    async def _ask_tool(self, step: Call, on_start: Callable[[CallResult], None]) -> CallResult:
        return await self.client(step.client).call(
            step.tool,
            arguments_of(step.tool, step.work),
            timeout_s=step.timeout_s,
            call_key=None if step.key is None else key_of(step.key),
            derive_key=step.derive,
            trace_id=trace_of(step.n),
            attempt_timeout_s=step.attempt_s,
            on_start=on_start,
        )

    def _loop_task(self, work: Any) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work)

    async def _call_by_shim(self, step: Call) -> None:
        """Call through the shim's dispatch, and judge its answer as an MCP client sees it."""
        if self._shim is None:
            self._shim = Shim(self._settings, self.client(SHIM), None, structlog.get_logger())
        reports: list[float] = []
        over = False

        async def report(progress: float, total: float | None, message: str | None) -> None:
            await asyncio.sleep(0)
            reports.append(_LATE if over else progress)

        meta = {"traceparent": f"00-{trace_of(step.n)}-00000000000000ab-01", "progress_token": step.n}
        context = SimpleNamespace(meta=meta, session=SimpleNamespace(report_progress=report))
        params = CallToolRequestParams(name=step.tool, arguments=arguments_of(step.tool, step.work))
        task = self._loop_task(self._shim.call_tool(cast("Context", context), params))
        if step.cancel_s is not None:
            await asyncio.wait([task], timeout=step.cancel_s)
            task.cancel()
        await asyncio.wait([task])
        over = True
        if not task.cancelled():
            self._judge_shim(step, task.result(), reports)

    def _judge_shim(self, step: Call, result: CallToolResult, reports: list[float]) -> None:
        facts = (result.meta or {}).get("exai/call", {})
        text = "\n".join(getattr(part, "text", "") for part in result.content)
        good = facts.get("outcome") in {"ok", "replayed"}
        right = bool(text) and bool(result.is_error) != good and facts.get("trace_id") == trace_of(step.n)
        seen = f"{facts.get('outcome')}, is_error {bool(result.is_error)}, {len(text)} characters"
        self._probe("INV-43", f"call {step.n} through the shim", "an error as an error, a result as one", seen, right)
        if good and step.tool in PROVIDERS:
            mine = f"nonce:w{step.work}" in text or "Status: analysis_timeout" in text
            self._probe("INV-39", f"call {step.n} through the shim", "its own result", text[-400:][:80], mine)
        self._no_secret(step, f"{text} {facts}")
        growing = all(one < other for one, other in pairwise(reports)) and _LATE not in reports
        self._probe("INV-43", f"progress of call {step.n}", "growing, none after the answer", repr(reports), growing)

    def _no_secret(self, step: Call, told: str) -> None:
        """See to it that nobody is told what a provider wrote."""
        self._probe("INV-35", f"what is said of call {step.n}", "nothing of the provider's", "-", SECRET not in told)

    def _probe(self, rule: str, case: str, expected: str, seen: str, held: bool) -> None:
        now = self._true.now()
        self._note(Probe(at=now, rule=rule, case=case, expected=expected, seen=seen, held=held))

    # --- raw clients -------------------------------------------------------------------------------------------------

    async def _channel(self, label: str) -> Channel | None:
        """Return a raw client's connection; None if there is none to be had."""
        async with self._dialling.setdefault(label, asyncio.Lock()):
            channel = self._channels.get(label)
            if channel is None or channel.lost.is_set():
                try:
                    channel = await open_channel(URL, self._clock, token=self._token, label=label, tap=self._tap(label))
                except HarnessError:
                    return None
                self._channels[label] = channel
            return channel

    async def _call_raw(self, step: Call) -> None:
        key = None if step.derive else key_of(step.n + 100 if step.key is None else step.key)
        frame = wire.CallTool(
            self._request_id(step),
            step.tool,
            arguments_of(step.tool, step.work),
            key,
            trace_of(step.n),
            step.timeout_s,
        )
        await self._send_raw(step.client, frame, frame.request_id)

    def _request_id(self, step: Call) -> str:
        """Return the request_id that a raw call wants; one that was used before only while that request is live.

        Afterwards nobody could tell the answers of the two apart.
        """
        wanted, alone = f"{step.client}-{step.request}", f"{step.client}-{step.n}"
        channel = self._channels.get(step.client)
        exchange = None if channel is None else channel._exchanges.get(wanted)
        live = exchange is not None and wanted in self._acked and not exchange.done.done()
        used = (step.client, wanted) in self._used
        self._used.add((step.client, wanted))
        return wanted if not used or (live and self._instant) else alone

    async def attach(self, step: Attach) -> None:
        """Attach."""
        frame = wire.Attach(f"{step.client}-{step.request}", key_of(step.key))
        await self._send_raw(step.client, frame, frame.request_id)

    async def cancel(self, step: Cancel) -> None:
        """Cancel; a request of another session is not this one's to cancel."""
        request_id = f"{step.owner or step.client}-{step.request}"
        if step.owner in {"", step.client}:
            await self._send_raw(step.client, wire.Cancel(request_id), None)
            return
        channel = await self._channel(step.client)
        if channel is None:
            return
        with contextlib.suppress(ConnectionLostError, TimeoutError):
            exchange = channel.expect(request_id, lambda _: None)
            channel.send(wire.Cancel(request_id))
            async with asyncio.timeout(_FOREVER_S):
                answer = await exchange.done
            code = answer.code if isinstance(answer, wire.ErrorFrame) else "the call's own answer"
            self._probe("INV-36", "cancelling another session's request", "UNKNOWN_CALL", code, code == "UNKNOWN_CALL")

    async def _send_raw(self, label: str, frame: Any, request_id: str | None) -> None:
        channel = await self._channel(label)
        if channel is None:
            return
        with contextlib.suppress(ConnectionLostError):
            if request_id is not None:
                channel.expect(request_id, lambda frame: self._acked.add(frame.request_id))
            channel.send(frame)

    async def ask(self, step: Ask) -> None:
        """Ask for tools, rotate the token, or try to get in."""
        with contextlib.suppress(HarnessError):
            if step.what == "tools":
                await self.client(step.client).list_tools()
            elif step.what == "rotate":
                await self._rotate(self.client(step.client), f"{TOKEN}-{step.at:g}")
            elif step.what == "rotate_short":
                await self._refused_rotation(self.client(step.client), self._token, "short")
            elif step.what == "rotate_wrong":
                await self._refused_rotation(self.client(step.client), f"{self._token}x", f"{TOKEN}-not-this-one")
            elif step.what == "prefix":
                await self._stays_out("INV-33", "hello with half a token", self._token[: len(self._token) // 2])
            elif step.what == "case":
                await self._stays_out("INV-33", "hello with the token in capitals", self._token.upper())
            else:
                await self._upgrade_refused(step.what)

    async def _rotate(self, client: DaemonClient, new: str) -> None:
        """Rotate; from then on the old token opens nothing."""
        old = self._token
        if await client.rotate_token(old, new) is None:
            self._now_use(new)
            await self._stays_out("INV-34", "hello with the token from before a rotation", old)

    async def _refused_rotation(self, client: DaemonClient, old: str, new: str) -> None:
        """Try a rotation that must fail, and change nothing."""
        channel, began_at = client._connector.usable(), self._true.now()
        code = await client.rotate_token(old, new)
        self._probe("INV-34", "a rotation that must fail", "refused", str(code), code is not None)
        if code == "unauthorized":
            again = await client.rotate_token(old, new)
            if channel is None or client._connector.usable() is not channel or self._true.now() > began_at + 0.1:
                return  # another session has no penalty, and after a while it is over
            self._probe("INV-34", "a bad try right after another", "slowed", str(again), again == "too_many_tries")
        await self._stays_out("INV-34", "hello with the new token of a rotation that failed", new)

    async def _stays_out(self, rule: str, case: str, token: str) -> None:
        """Say hello with a token that is none."""
        try:
            channel = await open_channel(URL, self._clock, token=token, label="stranger")
        except HelloRefusedError as refused:
            self._probe(rule, case, "unauthorized", refused.code, refused.code == "unauthorized")
        except DaemonUnreachableError:
            return  # it is away just now
        else:
            self._probe(rule, case, "unauthorized", "let in", held=token == self._token)
            await channel.close()

    async def _upgrade_refused(self, what: str) -> None:
        """Come as a web page does, or by a name that leads here by another's doing."""
        url, origin = (URL, "http://localhost.evil.example") if what == "origin" else ("ws://evil.example:8765", None)
        options: dict[str, Any] = {} if origin is None else {"origin": origin}
        with contextlib.suppress(OSError, ConnectionClosed, TimeoutError):
            try:
                link = await connect(url, proxy=None, compression=None, **options)
            except InvalidHandshake as refused:
                status = refused.response.status_code if isinstance(refused, InvalidStatus) else None
                if status is not None:
                    self._probe("INV-31", f"upgrade with a foreign {what}", "403", str(status), held=status == 403)
                return
            self._probe("INV-31", f"upgrade with a foreign {what}", "403", "101", held=False)
            await link.close()

    def _now_use(self, token: str) -> None:
        self._token = token
        for client in self._clients.values():
            client._connector.token = token

    def token_is_old(self) -> None:
        """A daemon that starts anew has the token of its settings again."""
        self._now_use(TOKEN)

    # --- health, and the end -----------------------------------------------------------------------------------------

    async def health(self, *, quiescent: bool = False) -> None:
        """Ask for health as the witness, and note it."""
        client = self.client(WITNESS)
        with contextlib.suppress(HarnessError):
            await client.connect()
            asked_at = self._true.now()
            health = await client.health()
            self._note(_health_seen(health, asked_at, self._true.now(), quiescent=quiescent))

    def vanish(self, label: str) -> None:
        """Crash a client."""
        client = self._clients.pop(label, None)
        if client is not None:
            client.drop()
            self._old.append(client)
            if label == SHIM:
                self._shim = None
        channel = self._channels.pop(label, None)
        if channel is not None:
            channel.drop()

    async def read_slowly(self, label: str, for_s: float) -> None:
        """Let a client read nothing for a while."""
        channel = self._channels.get(label)
        client = self._clients.get(label)
        held = channel if channel is not None else client
        if held is None:
            return
        held.pause_reading()
        await asyncio.sleep(for_s)
        held.resume_reading()

    async def close(self) -> None:
        """Close everything."""
        for client in [*self._clients.values(), *self._old]:
            await client.close()
        for channel in self._channels.values():
            await channel.close()


def _health_seen(health: Mapping[str, Any], asked_at: float, at: float, *, quiescent: bool) -> HealthSeen:
    tools = {name: int(pool["inflight"]) for name, pool in health["tools"].items()}
    providers = {name: int(pool["inflight"]) for name, pool in health["providers"].items()}
    return HealthSeen(
        at=at,
        asked_at=asked_at,
        total=health["global_inflight"],
        total_cap=health["global_capacity"],
        tools=tools,
        providers=providers,
        sessions=health["sessions"],
        draining=health["draining"],
        quiescent=quiescent,
    )


def _intent(step: Call, at: float) -> Intent:
    return Intent(
        scenario="explore",
        phase="all",
        session=step.client,
        tool=step.tool,
        expert=step.tool in EXPERT_TOOLS,
        trace_id=trace_of(step.n),
        at=at,
        keyed=not step.derive,
    )
