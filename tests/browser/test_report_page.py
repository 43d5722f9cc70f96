"""The report's pages in a real browser: ``make browser`` (needs Debian's chromium)."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mtl_bert import report
from tests.analysis.conflicting import quarrel
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
INDEX, RUN = "index.html", "runs/demo-quarrel.html"
READABLE = 4.5  # WCAG 2 AA, for text of this size


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything that there is."""
    root = tmp_path_factory.mktemp("runs")
    make_paper(root / "demo", seeds=(1, 2), B_scale=0.11)
    make_run(root / "real", Made(
        data="cs224n", synthetic=False, encoder="all-MiniLM-L6-v2", seen={"sts": ["STS-B"]},
        sizes={"sst": 8544, "qqp": 52_191, "sts": 6040},
    ))  # fmt: skip
    make_run(root / "demo" / "quarrel", Made(
        sampler="annealed", B=77, epochs=14, phases=quarrel(("sst", "qqp", "sts"), 14),
    ))  # fmt: skip
    report.main([str(root)])
    return root / "report"


@pytest.fixture(scope="session", params=[INDEX, RUN])
def address(request: pytest.FixtureRequest, folder: Path) -> str:
    """The report's page, and a run's."""
    return (folder / request.param).as_uri()


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


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in SCHEMES], ids=str)
def opened(
    request: pytest.FixtureRequest, browser: "Browser", address: str
) -> "Iterator[tuple[Page, list[str], list[str]]]":
    """The page, what it asked for and what it complained of."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda event: asked.append(event.url))
    page.on("console", lambda event: complaints.append(event.text))
    page.on("pageerror", lambda event: complaints.append(str(event)))
    page.goto(address)
    yield page, asked, complaints
    page.close()


Opened = tuple[Any, list[str], list[str]]


def test_it_asks_for_itself_only_and_complains_of_nothing(opened: Opened, address: str) -> None:
    page, asked, complaints = opened
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.wait_for_load_state("networkidle")
    assert set(asked) <= {address, "data:,"}
    assert address in asked
    assert complaints == []


def test_nothing_sticks_out_at_the_side(opened: Opened, address: str) -> None:
    page, _, _ = opened
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.innerWidth") == width
    # Wide tables scroll in a place of their own, which a keyboard can reach.
    inner = "[...document.querySelectorAll('.scroll')].filter(d => d.scrollWidth > d.clientWidth)"
    assert page.evaluate(f"{inner}.length") > 0 or not address.endswith(INDEX)
    assert page.evaluate(f"{inner}.every(d => d.tabIndex === 0)")


def test_every_figure_is_there_and_has_a_name(opened: Opened, address: str) -> None:
    page, _, _ = opened
    figures = page.evaluate(
        """[...document.querySelectorAll('svg, img')].map(shape => {
            const box = shape.getBoundingClientRect();
            const named = shape.closest('[role=img]');
            const drawn = shape.querySelectorAll('path, use').length;
            const name = named && named.getAttribute('aria-label');
            return {width: box.width, height: box.height, name, drawn};
        })"""
    )
    assert len(figures) >= 8 if address.endswith(INDEX) else len(figures) == 4
    for figure in figures:
        assert figure["width"] > 300
        assert figure["height"] > 100
        assert figure["drawn"] > 20
        assert re.search(r"\[data=.*encoder .*\]\. .", figure["name"])
    shown = page.get_by_role("img").all()
    assert len(shown) == len(figures)


def test_regions_and_tables_have_names(opened: Opened) -> None:
    page, _, _ = opened
    unnamed = page.evaluate(
        """[...document.querySelectorAll('[aria-labelledby]')].filter(part =>
            !document.getElementById(part.getAttribute('aria-labelledby'))?.textContent.trim()
        ).length"""
    )
    assert unnamed == 0
    assert page.evaluate("document.querySelectorAll('th:not([scope])').length") == 0
    assert page.evaluate("document.documentElement.lang") == "en"


def luminance(colour: str) -> float:
    """WCAG's relative luminance of rgb(r, g, b)."""
    values = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def colour(page: Any, selector: str, name: str = "color") -> str:
    script = "([s, n]) => getComputedStyle(document.querySelector(s)).getPropertyValue(n)"
    return str(page.evaluate(script, [selector, name]))


def test_the_contrast_is_wcags() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)


def test_texts_can_be_read_on_their_ground(opened: Opened) -> None:
    page, _, _ = opened
    ground = colour(page, "body", "background-color")
    for selector in ("body", "p", "a", ".caption", ".drawing figcaption", "tbody td", ".canvas"):
        assert contrast(colour(page, selector), ground) >= READABLE, selector
    soft = colour(page, "thead", "background-color")
    assert contrast(colour(page, "thead th"), soft) >= READABLE
    assert contrast(colour(page, "nav a"), colour(page, "nav", "background-color")) >= READABLE


def test_figures_write_in_the_pages_own_ink(opened: Opened) -> None:
    page, _, _ = opened
    ink = colour(page, ".canvas")
    used = page.evaluate(
        """(ink) => [...document.querySelectorAll('.canvas svg g')].filter(
            part => getComputedStyle(part).fill === ink).length""",
        ink,
    )
    assert used > 20
    assert "background" not in page.evaluate("document.querySelector('.canvas svg').outerHTML")


def test_figures_lie_within_their_frames(opened: Opened) -> None:
    """No label is cut off at an edge."""
    page, _, _ = opened
    outside = page.evaluate(
        """[...document.querySelectorAll('.canvas svg')].flatMap(svg => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('g[id*=text]')].filter(text => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1
                    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
            });
        }).length"""
    )
    assert outside == 0


def test_by_night_the_ground_is_dark(browser: "Browser", address: str) -> None:
    grounds = {}
    for scheme in SCHEMES:
        page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(address)
        grounds[scheme] = luminance(colour(page, "body", "background-color"))
        page.close()
    assert grounds["light"] > 0.9
    assert grounds["dark"] < 0.05


def test_links_to_files_lead_to_files(opened: Opened, folder: Path, address: str) -> None:
    page, _, _ = opened
    links = page.evaluate(
        "[...document.querySelectorAll('.file a')].map(a => a.getAttribute('href'))"
    )
    assert bool(links) == address.endswith(INDEX)
    assert all((folder / link).is_file() for link in links)


def test_a_runs_page_is_a_click_away_and_so_is_the_way_back(
    browser: "Browser", folder: Path
) -> None:
    page = browser.new_page()
    page.goto((folder / INDEX).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.get_by_role("link", name="demo/quarrel", exact=True).click()
    assert page.url == (folder / RUN).as_uri()
    assert page.get_by_role("heading", level=1).inner_text() == "demo/quarrel"
    assert page.get_by_text("Do the tasks conflict?", exact=True).is_visible()
    page.get_by_role("link", name="All runs").click()
    assert page.url == (folder / INDEX).as_uri()
    page.close()
