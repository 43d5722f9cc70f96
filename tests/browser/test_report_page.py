"""The report's page in a real browser: ``make browser`` (needs Debian's chromium)."""

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.analysis.conflicting import quarrel
from tests.analysis.conftest import HOSTILE, Written, reported
from tests.analysis.factory import Made, make_paper, make_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

# As root in a container there is no sandbox; and a browser that asks nobody for anything.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
READABLE = 4.5  # WCAG 2 AA, for text of this size
OPEN = "document.querySelectorAll('details').forEach(d => { d.open = true; })"


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A report with everything that there is."""
    root = tmp_path_factory.mktemp("runs")
    make_paper(root / "demo", seeds=(1, 2), B_scale=0.11)
    make_run(root / f"real{HOSTILE}", Made(
        data="cs224n", synthetic=False, encoder="all-MiniLM-L6-v2", seen={"sts": [HOSTILE]},
        sizes={"sst": 8544, "qqp": 52_191, "sts": 6040},
    ))  # fmt: skip
    make_run(root / "demo" / "quarrel", Made(
        sampler="annealed", B=77, epochs=14, phases=quarrel(("sst", "qqp", "sts"), 14),
    ))  # fmt: skip
    return reported(root)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    assert found, "expected chromium, found none; write: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session", params=["", "quarrel"], ids=["report", "run"])
def address(request: pytest.FixtureRequest, report: Written) -> str:
    """The report, and a run's view in it."""
    quarrels = ["<h1>demo/quarrel</h1>" in view for view in report.views]
    place = f"#run={quarrels.index(True)}" if request.param else ""
    return (report.out / "index.html").as_uri() + place


Opened = tuple[Any, list[str], list[str]]


@pytest.fixture(scope="session", params=[(w, s) for w in WIDTHS for s in SCHEMES], ids=str)
def opened(request: pytest.FixtureRequest, browser: "Browser", address: str) -> Iterator[Opened]:
    """The page with all that it draws, what it asked for and what it complained of."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda event: asked.append(event.url))
    page.on("console", lambda event: complaints.append(event.text))
    page.on("pageerror", lambda event: complaints.append(str(event)))
    page.on("dialog", lambda event: complaints.append(event.message))
    page.goto(address)
    page.evaluate(OPEN)
    drawn(page)
    yield page, asked, complaints
    page.close()


def shown(page: "Page") -> Any:
    """The part that is shown: the report, or a run's view."""
    return page.locator("main:not([hidden])")


def drawn(page: "Page") -> None:
    """Scroll past every chart, and wait until each is there."""
    for canvas in shown(page).locator(".canvas").all():
        canvas.scroll_into_view_if_needed()
        canvas.locator("svg").wait_for()


def test_it_asks_for_itself_only_and_complains_of_nothing(opened: Opened, address: str) -> None:
    _, asked, complaints = opened
    assert {url.partition("#")[0] for url in asked} <= {address.partition("#")[0], "data:,"}
    assert complaints == []


def test_nothing_sticks_out_at_the_side(opened: Opened) -> None:
    page, _, _ = opened
    outside = page.evaluate(
        """[...document.querySelectorAll('body *')].filter(node => {
            for (let p = node.parentElement; p; p = p.parentElement)
                if (getComputedStyle(p).overflowX !== 'visible') return false;
            return node.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
        }).map(node => `${node.tagName} ${node.className} ${node.textContent.slice(0, 50)}`)"""
    )
    assert outside == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    # Wide tables scroll in a place of their own, which a keyboard can reach.
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(d => d.tabIndex === 0)")


def test_every_chart_is_drawn_has_a_name_and_lies_within_its_frame(
    opened: Opened, address: str
) -> None:
    page, _, _ = opened
    charts = shown(page).locator(".canvas").all()
    assert len(charts) >= (4 if "#run" in address else 8)
    for chart in charts:
        label = chart.get_attribute("aria-label") or ""
        assert len(label) > 10
        assert "Vega" not in label
        outside = chart.evaluate(
            """canvas => {
                const frame = canvas.querySelector('svg').getBoundingClientRect();
                return [...canvas.querySelectorAll('svg text')].filter(text => {
                    const box = text.getBoundingClientRect();
                    return box.width && (box.left < frame.left - 2 || box.right > frame.right + 2
                        || box.top < frame.top - 2 || box.bottom > frame.bottom + 2);
                }).map(text => text.textContent);
            }"""
        )
        assert outside == []


def luminance(colour: str) -> float:
    """WCAG's relative luminance of rgb(r, g, b)."""
    values = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_is_wcags() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)


def test_texts_can_be_read_on_their_ground_by_day_and_by_night(opened: Opened) -> None:
    page, _, _ = opened

    def colour(selector: str, name: str = "color") -> str:
        found = shown(page).locator(selector).first
        return str(found.evaluate("(node, name) => getComputedStyle(node)[name]", name))

    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (luminance(ground) < 0.05) == dark
    for selector in ("h1", "p", "a", ".lead", "tbody td"):
        assert contrast(colour(selector), ground) >= READABLE, selector
    assert contrast(colour("thead th"), colour("thead th", "background-color")) >= READABLE
    assert contrast(colour(".badge"), colour(".badge", "background-color")) >= READABLE
    for label in shown(page).locator(".canvas .role-axis-title text").all()[:4]:
        assert contrast(label.evaluate("t => getComputedStyle(t).fill"), ground) >= READABLE


@pytest.fixture
def fresh(browser: "Browser", report: Written) -> "Iterator[Page]":
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((report.out / "index.html").as_uri())
    yield page
    page.close()


def column(page: "Page", number: int) -> list[str]:
    cells = page.locator(f"figure[data-board] >> nth=0 >> tbody tr > *:nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_a_heading_sorts_with_the_keyboard_too(fresh: "Page") -> None:
    methods = column(fresh, 1)
    fresh.locator("figure[data-board] thead th:first-child button").first.focus()
    fresh.keyboard.press("Enter")
    rising = column(fresh, 1)
    assert sorted(rising) == sorted(methods)
    assert [name for name in rising if name[0] == "a"] == sorted(m for m in methods if m[0] == "a")
    fresh.keyboard.press("Enter")
    assert column(fresh, 1) == rising[::-1]
    fresh.locator("figure[data-board] thead th:nth-child(2) button").first.click()
    scores = [float(text.split(" ")[0]) for text in column(fresh, 2)]
    assert scores == sorted(scores, reverse=True)


def test_another_baseline_and_a_filter(fresh: "Page") -> None:
    board = fresh.locator("figure[data-board]").first
    methods = board.locator("select option").all_inner_texts()
    board.locator("select").select_option(label=methods[3])
    assert board.locator("thead th:visible").last.inner_text().startswith(f"against {methods[3]}")
    against = dict(zip(column(fresh, 1), board.locator("tbody td:visible:last-of-type, "
                   "tbody td[data-choice]:visible").all_inner_texts(), strict=True))  # fmt: skip
    assert [method for method, text in against.items() if text == "baseline"] == [methods[3]]
    board.locator("input").fill("arrp")
    visible = board.locator("tbody tr:not([hidden]) th").all_inner_texts()
    assert visible
    assert all("ARRP" in text for text in visible)


def test_a_hint_comes_by_focus_and_goes_by_escape(fresh: "Page") -> None:
    fresh.locator("figure[data-board] td[data-choice][title]:visible").first.focus()
    tip = fresh.locator("#tip")
    assert "interval over seeds" in tip.inner_text()
    fresh.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_run_is_a_click_away_and_so_is_the_way_back(fresh: "Page") -> None:
    fresh.evaluate(OPEN)
    fresh.get_by_role("link", name=f"real{HOSTILE}", exact=True).click()
    view = fresh.locator("#run")
    assert view.locator("h1").inner_text() == f"real{HOSTILE}"
    assert "CONTAMINATED" in view.inner_text()
    view.get_by_role("link", name="All runs").click()
    assert fresh.locator("#main").is_visible()
    assert not view.is_visible()


def test_without_scripts_everything_is_text_and_tables(browser: "Browser", report: Written) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((report.out / "index.html").as_uri())
    assert page.get_by_text("Leaderboard").first.is_visible()
    assert "Scripts are off" in page.content()
    assert page.locator("tbody tr").count() > 100
    context.close()
