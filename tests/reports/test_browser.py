"""The chaos stage's page in a real browser: from disk, in the light and in the dark, on a phone, on paper."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from reports.gate_page import gate_page
from reports.study import Bars, HeatMap, Section, Study, Table
from reports.study_page import write_study
from scenarios.record import Record
from scenarios.verdict import Verdict
from tests.reports.browsing import browser_path, write_chaos_report

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(browser_path() is None, reason="no Chromium or Chrome on PATH"),
]

Scheme = Literal["light", "dark"]

PHONE, DESKTOP = 400, 1280

PAPER_WIDTH = 703
"""Of an A4 sheet between margins of 12 mm, in CSS pixels."""


@dataclass
class Opened:
    """A page that was opened from disk, and what it did."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Desk:
    """One browser for all tests of a worker, and the report that they open."""

    browser: Browser
    path: Path
    record: Record
    seen: dict[tuple[int, Scheme], Opened] = field(default_factory=dict)

    async def look(self, width: int, scheme: Scheme = "light") -> Opened:
        """Return the page in a window of that width, opened before or not, for a test that only looks."""
        key = (width, scheme)
        if key not in self.seen:
            self.seen[key] = await self.open(width, scheme)
        return self.seen[key]

    async def open(self, width: int, scheme: Scheme = "light", path: Path | None = None) -> Opened:
        """Open the page in a window of its own."""
        context = await self.browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        opened = Opened(await context.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        await opened.page.goto((path or self.path).as_uri())
        return opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """Start the browser once, and write the report once."""
    directory = tmp_path_factory.mktemp("chaos")
    record = write_chaos_report(directory)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield Desk(browser, directory / "report.html", record)
        await browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_opens_from_disk_and_fits(desk: Desk, width: int, scheme: Scheme) -> None:
    """No request but for itself, no complaint, no page wider than its window; dark means dark."""
    opened = await desk.look(width, scheme)
    assert [url for url in opened.requests if not url.startswith("data:")] == [desk.path.as_uri()]
    assert opened.complaints == []
    assert await opened.page.evaluate("document.documentElement.scrollWidth") == width
    paper, ink = await opened.page.evaluate(
        "['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    assert (sum(paper) > sum(ink)) is (scheme == "light")


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_the_verdict_is_the_first_thing_to_see(desk: Desk, width: int) -> None:
    """It is the first word of the document, and stands in the first screen with its headline."""
    page = (await desk.look(width)).page
    assert (await page.inner_text("body")).split()[0] in {"held", "violated", "undecided"}
    for name in (".badge >> nth=0", "h1", "header p >> nth=1"):
        box = await page.locator(name).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 400


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_windows_of_faults_are_shaded_and_named(desk: Desk, width: int) -> None:
    """Each window is a shape of its own width over the latencies, says its fault, and stands in the table."""
    page = (await desk.look(width)).page
    layout = "narrow" if width == PHONE else "wide"
    for number, fault in enumerate(desk.record.run.faults, 1):
        window = page.locator(f"#latency-{layout}-fault-{number}")
        box = await window.bounding_box()
        assert box is not None
        assert box["width"] > 1
        assert box["height"] > 100
        assert await window.locator("title").text_content() == f"F{number} {fault.title}"
        assert await page.locator("td").get_by_text(f"F{number}", exact=True).count() == 1
    fill = await page.locator(f"#latency-{layout}-fault-1 path").evaluate("path => getComputedStyle(path).fill")
    assert fill == "rgb(181, 71, 8)"


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_pointing_at_a_slow_call_shows_its_trace_id(desk: Desk, width: int) -> None:
    """The mark that lies under the pointer is a link that says it, and the line under the plot says it too."""
    page = (await desk.open(width)).page
    slowest = max((call for call in desk.record.calls if call.latency_s is not None), key=lambda c: c.latency_s or 0)
    line = page.locator(".said p", has_text=slowest.trace_id)
    assert not await line.is_visible()
    await page.locator(f'figure a[aria-label*="{slowest.trace_id}"]:visible').hover()
    assert await line.is_visible()


async def test_tab_reaches_a_slow_call_and_shows_its_trace_id(desk: Desk) -> None:
    """Without a mouse: Tab comes to the marks, shows which call it is, and Enter leads to its row."""
    page = (await desk.open(DESKTOP)).page
    for _ in range(20):
        await page.keyboard.press("Tab")
        label = await page.evaluate("document.activeElement.getAttribute('aria-label')")
        if label:
            break
    assert label
    trace_id = label.split()[-1]
    assert trace_id in {call.trace_id for call in desk.record.calls}
    assert await page.locator(".said p", has_text=trace_id).is_visible()
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    assert trace_id in await page.locator("tr:target").inner_text()


async def test_prints_legibly_whatever_the_theme(desk: Desk) -> None:
    """On paper all words are there, nothing is cut off at its edge, and all is dark on white without backgrounds."""
    pypdf = pytest.importorskip("pypdf", reason="reads the words of the PDF")
    page = (await desk.open(PAPER_WIDTH, "dark")).page
    await page.emulate_media(media="print")
    too_wide = await page.evaluate(
        "[...document.querySelectorAll('svg, td, th, p, li, dd')].filter(each => each.checkVisibility()"
        " && each.getBoundingClientRect().right > innerWidth + 0.5).map(each => each.outerHTML.slice(0, 80))"
    )
    assert too_wide == []
    colours = await page.evaluate(
        "[...document.querySelectorAll('body, .badge, .quiet, dt')].map("
        "each => getComputedStyle(each).color.match(/\\d+/g).map(Number))"
    )
    assert all(max(colour) < 200 for colour in colours)
    # Of the plots the letters are paths: they hold no words, and take long to read.
    await page.evaluate("document.querySelectorAll('figure').forEach(figure => figure.remove())")
    margin = "12mm"
    pdf = await page.pdf(
        format="A4",
        print_background=False,
        margin={"top": margin, "bottom": margin, "left": margin, "right": margin},
    )
    sheets = pypdf.PdfReader(io.BytesIO(pdf)).pages
    text = " ".join("\n".join(sheet.extract_text() for sheet in sheets).split())
    assert text.split()[0] in {"held", "violated", "undecided"}
    assert 3 < len(sheets) < 20
    slowest = sorted((call for call in desk.record.calls if call.latency_s), key=lambda call: -(call.latency_s or 0))
    assert all(call.trace_id in text for call in slowest[:10])
    assert all(f"F{number}" in text for number in range(1, len(desk.record.run.faults) + 1))


async def test_nothing_is_left_of_a_plot_that_is_not_shown(desk: Desk) -> None:
    """Of the two layouts of a plot one is shown, so that Tab meets each call once."""
    for width, shown in ((PHONE, "narrow"), (DESKTOP, "wide")):
        page = (await desk.look(width)).page
        figures = await page.locator("figure").count()
        assert await page.locator("figure svg:visible").count() == figures
        assert await page.locator(f"figure .{shown} svg:visible").count() == figures


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_pages_of_studies_and_gates_fit_too(desk: Desk, width: int, tmp_path: Path) -> None:
    """Long names of settings, long sentences and tables with many columns make no page wider than its window."""
    long = "EXAI_WS_GLOBAL_MAX_INFLIGHT and EXAI_WS_SESSION_MAX_INFLIGHT"
    columns = (long, *(f"column {number}" for number in range(9)))
    table = Table(long, columns, ((long, *range(9)), (long, *(number / 7e5 for number in range(9)))))
    charts = (
        Bars("bars", long, "share", (long, "b"), (0.5, 0.25)),
        HeatMap("map", long, long, long, tuple("abcdefgh"), ("x",), ((1234.5,) * 8,), "s"),
    )
    study = Study("sweep", "slow-provider", long, (Section(long, long, (table,), charts),), Verdict.HELD)
    write_study(tmp_path, study)
    stage = {"stage": "smoke", "title": long, "verdict": "held", "directory": "smoke", "wall_s": 1.0, "calls": 6}
    stage |= {"violated": [long], "not_judged": [], "not_carried": [long]}
    gate = {"verdict": "held", "stages": [stage], "not_run": ["chaos"], "judged_nowhere": [long]}
    (tmp_path / "gate.html").write_bytes(gate_page(gate, "20260102T030405Z-gate"))
    for name in ("report.html", "gate.html"):
        opened = await desk.open(width, path=tmp_path / name)
        assert opened.complaints == []
        assert await opened.page.evaluate("document.documentElement.scrollWidth") == width
