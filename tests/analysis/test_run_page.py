"""A page for every run: where it lies, what leads to it, and what is on it."""

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.analysis.document import Answers, Document, Figure, Table, Text
from mtl_bert.analysis.render import page
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.run_page import addresses, run_page, run_pages
from tests.analysis.conflicting import quarrel
from tests.analysis.conftest import HOSTILE, Written
from tests.analysis.factory import Made
from tests.analysis.making import run_of, study_of
from tests.analysis.test_report import Page

QUARREL = Made(epochs=4, phases=quarrel(("sst", "qqp", "sts"), 4))


def made_page(made: Made) -> Document:
    study = study_of(made)
    return run_page(study, study.runs[0], "runs/run0.html")


Kind = TypeVar("Kind")


def of(document: Document, kind: type[Kind]) -> list[Kind]:
    return [block for block in document.blocks() if isinstance(block, kind)]


names = st.lists(
    st.text(st.sampled_from("aA/-. éß"), min_size=1, max_size=6),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(names)
def test_every_run_has_a_page_of_its_own(found: list[str]) -> None:
    run = run_of(Made())
    runs = [replace(run, name=name, directory=Path(str(n))) for n, name in enumerate(found)]
    places = addresses(runs)
    assert set(places) == {run.directory for run in runs}
    assert all(re.fullmatch(r"runs/[\w-]+\.html", place) for place in places.values())
    assert len({place.casefold() for place in places.values()}) == len(runs)
    assert addresses(runs[::-1]) == places  # the report and its pages say the same


def test_a_long_name_fits_into_a_file_system() -> None:
    runs = [replace(run_of(Made()), name="x" * 300 + end, directory=Path(end)) for end in "ab"]
    places = sorted(addresses(runs).values())
    assert len(set(places)) == 2
    assert all(len(place) < 200 for place in places)


def test_the_list_of_runs_leads_to_pages_and_they_lead_back(written: Written) -> None:
    pages = {document.address for document in written.pages}
    lying = {f"runs/{path.name}" for path in (written.out / "runs").iterdir()}
    assert lying == pages
    listed = Page((written.out / "index.html").read_text("utf-8")).addresses
    assert {address for address in listed if address.startswith("runs/")} == pages
    text = (written.out / "report.md").read_text("utf-8")
    assert all(f"]({address})" in text for address in pages)
    for path in (written.out / "runs").iterdir():
        back = [a for a in Page(path.read_text("utf-8")).addresses if not a.startswith("#")]
        assert set(back) <= {"data:,", "../index.html"}
        assert (path.parent / back[-1]).resolve() == (written.out / "index.html").resolve()


def test_pages_are_sound_and_need_nothing_else(written: Written) -> None:
    for path in (written.out / "runs").iterdir():
        text = path.read_text("utf-8")
        found = Page(text)
        assert "script" not in found.tags
        assert not {"img", "iframe", "object"} & set(found.tags)
        assert not re.search(r"url\((?!#)|@import", text)
        assert HOSTILE not in text
        assert len(set(found.ids)) == len(found.ids)
        assert {a[1:] for a in found.addresses if a.startswith("#")} <= set(found.ids)
        assert found.unscoped == 0


def test_every_title_says_what_it_is_about(written: Written) -> None:
    for document in written.pages:
        shown = [b for b in document.blocks() if isinstance(b, Table | Figure)]
        words = "SYNTHETIC" if "demo" in document.title else "CONTAMINATED"
        assert words in " ".join(document.lead)
        for block in shown:
            assert words in block.title, block.name
            if isinstance(block, Figure):
                assert words in " ".join(re.findall(r"<!-- (.*?) -->", block.svg, re.DOTALL))
                assert block.png == b""


def test_a_page_has_everything_that_is_recorded() -> None:
    document = made_page(QUARREL)
    figures = {figure.name for figure in of(document, Figure)}
    assert figures == {"course", "conflicts", "parts", "layers"}
    tables = {table.name: table for table in of(document, Table)}
    assert set(tables) == {"phases", "epochs", "ledger"}
    assert [row[0].text for row in tables["epochs"].rows] == ["1", "2", "3", "4"]
    assert [row[0].text for row in tables["phases"].rows] == ["rr", "finetune"]
    # four epochs of 10 steps and 60 seconds beside 5 steps and 60 seconds
    assert [cell.text for cell in tables["phases"].rows[0][1:5]] == ["40", "320", "240.0", "50.0 %"]
    joint = QUARREL.phases[0][0].conflicts
    assert joint is not None
    cosine = f"{joint.pairs['sst/qqp'].cosine:.3f}".replace("-", "−")
    assert tables["epochs"].rows[0][3].text == cosine
    text = html.unescape(page(document))
    assert all(table.heading in text for table in tables.values())
    (answered,) = of(document, Answers)
    assert all(answer in text for _, answer in answered.items)


def test_without_joint_steps_the_rest_is_shown() -> None:
    document = made_page(Made())
    assert {figure.name for figure in of(document, Figure)} == {"course"}
    said = [text.words for text in of(document, Text)]
    assert len(said) == 2
    assert all(words.startswith("Nothing can be said") for words in said)
    assert "trainer.layers_every=50" in said[1]


def test_an_untrained_model_has_a_page_without_figures() -> None:
    document = made_page(Made("random"))
    assert [section.anchor for section in document.sections] == ["answers"]
    assert of(document, Figure) == []
    assert "Nothing was trained." in page(document)


def test_epochs_that_were_not_scored_or_had_no_joint_step_leave_gaps() -> None:
    phases = [QUARREL.phases[0], [QUARREL.phases[1][1]], QUARREL.phases[2], QUARREL.phases[3]]
    document = made_page(replace(QUARREL, phases=phases, validate_every=3))
    (table,) = [t for t in of(document, Table) if t.name == "epochs"]
    assert [row[0].text for row in table.rows] == ["1", "3", "4"]


@pytest.mark.parametrize("epochs", [1, 60])
def test_a_page_is_bearable_in_size(epochs: int) -> None:
    made = Made(epochs=epochs, phases=quarrel(("sst", "qqp", "sts"), epochs))
    assert len(page(made_page(made))) < 1_000_000


def runs_of(count: int) -> list[Run]:
    return [run_of(Made("random", seed=n), f"run{n}") for n in range(count)]


def test_pages_are_made_one_by_one_for_every_run_also_superseded_ones() -> None:
    runs = [*runs_of(3), replace(run_of(Made("random", seed=0, later=9)), name="again")]
    again = replace(runs[-1], directory=Path("again"))
    titles = {document.title for document in run_pages([*runs[:3], again])}
    assert titles == {"run0", "run1", "run2", "again"}
