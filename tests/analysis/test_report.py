"""The whole: what is written, what its titles say, and what is in no case written."""

import csv
import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mtl_bert import report
from mtl_bert.analysis import render
from mtl_bert.analysis.contents import report as make_report
from mtl_bert.analysis.document import (
    Cell,
    Column,
    Document,
    Figure,
    Points,
    Section,
    Table,
    Text,
)
from mtl_bert.analysis.render import ARCHIVE, markdown, page
from mtl_bert.analysis.run_files import Run, find_runs
from mtl_bert.analysis.studies import Subject
from mtl_bert.utils.files import write_text
from tests.analysis.conftest import HOSTILE, Written
from tests.analysis.factory import Made, make_run
from tests.analysis.making import run_of

# The subjects.


def subject(**changes: object) -> Subject:
    whole = (("sst", 8544), ("qqp", 283_010), ("sts", 6040))
    plain = Subject("cs224n", False, whole, "bert-base-uncased")
    return Subject(**{**vars(plain), **changes})  # type: ignore[arg-type]


def test_the_papers_own_experiment_needs_no_warning() -> None:
    assert subject().title("T") == "T [data=cs224n; encoder bert-base-uncased]"
    assert subject().like_the_paper
    assert subject().warning == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"synthetic": True}, "SYNTHETIC (made-up text)"),
        (
            {"sizes": (("sst", 8544), ("qqp", 52_191), ("sts", 6040))},
            "partial training sets: qqp 52,191 of 283,010",
        ),
        (
            {"sizes": (("sst", 8544), ("qqp", 363_846), ("sts", 6040))},
            "other training sets: qqp 363,846 instead of 283,010",
        ),
        ({"sizes": (("sst", 8544), ("sts", 6040))}, "qqp missing"),
        ({"seen": (("sts", ("STS-B",)),)}, "CONTAMINATED: the encoder was trained before on sts"),
        ({"encoder": "tiny"}, "encoder tiny"),
        ({"bucket": 50}, "batches of like length (group_by_length=50)"),
        (
            {"sizes": (("sst", 8544), ("qqp", 283_010), ("sts", 6040), ("cola", 9))},
            "tasks that the paper does not have: cola",
        ),
    ],
)
def test_titles_say_what_is_not_the_papers(changes: dict[str, object], words: str) -> None:
    found = subject(**changes)
    assert words in found.title("T")
    assert "another experiment" in found.warning
    assert not found.like_the_paper


def test_bucketed_runs_stand_apart_and_every_title_of_theirs_says_so() -> None:
    made = [Made(sampler="arrp", B=100, lambda_=0.5, seed=seed) for seed in (1, 2)]
    runs = [run_of(m, f"plain{n}") for n, m in enumerate(made)]
    runs += [run_of(replace(m, bucket=50), f"bucketed{n}") for n, m in enumerate(made)]
    blocks = make_report(runs).blocks()
    titles = [block.title for block in blocks if isinstance(block, Table | Figure)]
    said = [title for title in titles if "batches of like length (group_by_length=50)" in title]
    assert len(said) == len(titles) / 2
    points = [item for block in blocks if isinstance(block, Points) for item in block.items]
    common = sorted(item for item in points if "group_by_length" in item)
    assert common == ["group_by_length: 50", "group_by_length: null"]


def test_a_table_cannot_be_made_without_a_subject() -> None:
    with pytest.raises(TypeError):
        Table(name="t", heading="T", columns=(), rows=())  # type: ignore[call-arg]


# The files.


def texts(written: Written, name: str) -> str:
    return (written.out / name).read_text("utf-8")


def test_everything_is_written_and_named(written: Written) -> None:
    document = written.document
    tables = [block for block in document.blocks() if isinstance(block, Table)]
    figures = [block for block in document.blocks() if isinstance(block, Figure)]
    names = [block.name for block in (*tables, *figures)]
    assert len(set(names)) == len(names)
    stems = {path.stem for path in (written.out / "tables").iterdir()}
    assert stems == {table.name for table in tables}
    drawn = {path.name for path in (written.out / "figures").iterdir()}
    assert drawn == {f"{f.name}.{kind}" for f in figures for kind in ("png", "svg")}
    assert {"a-demo-table1", "a-demo-table2", "a-demo-table3", "a-demo-table4"} <= stems
    some = {"a-demo-sst-confusion.png", "a-demo-sts-scatter.svg", "b-cs224n-score-time.png"}
    assert some <= drawn
    assert not list(written.out.rglob("*.tmp"))
    assert "report written to" in written.stdout
    for name in ("index.html", "report.md"):
        text = html.unescape(texts(written, name))
        assert [table.heading for table in tables[:6] if table.heading not in text] == []


def test_every_title_says_that_it_is_synthetic_partial_or_contaminated(written: Written) -> None:
    for block in written.document.blocks():
        if isinstance(block, Table | Figure):
            expected = (
                ["SYNTHETIC", "partial training sets", "encoder tiny"]
                if block.name.startswith("a-demo")
                else ["partial training sets: qqp 52,191 of 283,010", "CONTAMINATED", "MiniLM"]
            )
            assert all(words in block.title for words in expected), block.name
        if isinstance(block, Figure):
            comments = " ".join(re.findall(r"<!-- (.*?) -->", block.svg, re.DOTALL))
            assert ("SYNTHETIC" in comments) == block.name.startswith("a-demo")
            assert "partial" in comments
    for path in (written.out / "tables").iterdir():
        with path.open(encoding="utf-8", newline="") as file:
            subjects = [row["subject"] for row in csv.DictReader(file)]
        synthetic = path.name.startswith("a-demo")
        assert subjects or path.stem.endswith("differences"), path
        assert all(("SYNTHETIC" in words) == synthetic for words in subjects), path


def test_damaged_files_are_named_and_the_others_reported(written: Written) -> None:
    (line,) = written.stderr.splitlines()
    assert line.startswith(f"{written.root / 'bad' / 'results.json'}: expected")
    assert "Files left out" in texts(written, "report.md")


def test_a_report_about_a_report_finds_the_same_runs(written: Written) -> None:
    runs, _ = find_runs([written.root])
    assert f"{len(runs)} runs" in written.stdout


class Page(HTMLParser):
    """Tags, ids and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.unscoped = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.unscoped += tag == "th" and "scope" not in values
        names = ("src", "href", "xlink:href", "srcset", "action", "data")
        self.addresses += [v for k, v in attrs if k in names and v]


def test_the_page_needs_nothing_else(written: Written) -> None:
    text = texts(written, "index.html")
    found = Page(text)
    assert "script" not in found.tags
    assert not {"link", "img", "iframe", "object"} & set(found.tags) - {"link"}
    kept = ("#", "data:,", "tables/", "figures/", "runs/")
    assert [a for a in found.addresses if not a.startswith(kept)] == []
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert found.tags.count("svg") == len(list((written.out / "figures").glob("*.svg")))


def test_the_page_is_sound(written: Written) -> None:
    found = Page(texts(written, "index.html"))
    assert len(set(found.ids)) == len(found.ids)
    assert found.unscoped == 0
    targets = {address[1:] for address in found.addresses if address.startswith("#")}
    assert targets <= set(found.ids)
    files = [a for a in found.addresses if a.startswith(("tables/", "figures/", "runs/"))]
    assert files
    assert all((written.out / name).is_file() for name in files)


def test_texts_from_data_are_only_text(written: Written) -> None:
    shown, text = texts(written, "index.html"), texts(written, "report.md")
    assert HOSTILE not in shown + text
    assert "<b>bold" not in shown + text
    assert "&lt;b&gt;bold" in shown
    assert "&lt;script&gt;alert" in shown
    assert "&lt;script&gt;alert" in text
    for path in (written.out / "figures").glob("*.svg"):
        assert "<script" not in path.read_text("utf-8")


def test_every_kind_of_text_is_escaped() -> None:
    nasty = '# a | b * c <i> & "q" `d`'
    table = Table(
        "t", nasty, subject(data=nasty), (Column(nasty),), ((Cell(nasty),),), nasty, (nasty,)
    )
    document = Document(nasty, (nasty,), (Section("s", nasty, (Text(nasty), table)),))
    assert "<i>" not in page(document)
    shown = markdown(document)
    assert "<i>" not in shown
    (row,) = [line for line in shown.splitlines() if line.startswith("| # a \\| b")][1:]
    assert row.replace("\\|", "").count("|") == 2
    assert "\n\\# a" in shown


def made_runs(root: Path) -> list[Run]:
    """Runs of which nothing is drawn: of one epoch, without predictions."""
    best = {"sst": 0.7, "qqp": 0.8, "sts": 0.9}
    made = {
        "rr": Made(epochs=1, accuracies={"sst": 0.9, "qqp": 0.9, "sts": 0.9}),
        "weak": Made("arrp", 1, 1, B=100, lambda_=0.5),
        "best": Made("arrp", 2, 1, B=100, lambda_=0.5, accuracies=best),
        "other": Made(epochs=1, lr=0.5),
    }
    for name, run in made.items():
        make_run(root / name, replace(run, predictions=False))
    return find_runs([root])[0]


def headings(document: Document) -> list[str]:
    inner = (part.heading for section in document.sections for part in section.sections)
    return [heading for heading in inner if heading.endswith("answers")]


def test_answers_are_those_of_the_best_arrp_run_or_of_those_asked_for(tmp_path: Path) -> None:
    runs = made_runs(tmp_path)
    assert headings(make_report(runs)) == ["What best answers", "What other answers"]
    asked = [run for run in runs if run.name in ("rr", "weak")]
    expected = ["What rr answers", "What weak answers", "What other answers"]
    assert headings(make_report(runs, (), asked)) == expected


def test_settings_have_sections_of_their_own(tmp_path: Path) -> None:
    document = make_report(made_runs(tmp_path))
    first, second = document.sections
    assert [first.anchor, second.anchor] == ["a-demo", "b-demo"]
    assert "3 runs" in document.lead[1]
    assert "never mixed" in document.lead[1]


def test_names_from_data_are_fit_for_files(tmp_path: Path) -> None:
    make_run(tmp_path, Made("random", data="../a b", predictions=False))
    names = [b.name for b in make_report(find_runs([tmp_path])[0]).blocks() if isinstance(b, Table)]
    assert names
    assert all(re.fullmatch(r"[\w-]+", name) for name in names)


# The command.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "DIR: expected a directory with runs, found nothing at "),
        (["."], "DIR: expected results.json of finished runs, found none that can be used below "),
        ([".", "--run", "nowhere"], "--run: expected the directory of a finished run, found none"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        report.main(words)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith(message)
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def small(root: Path) -> Path:
    """A report that is quick to make: nothing trained, nothing drawn."""
    make_run(root / "runs" / "random", Made(sampler="random", predictions=False))
    return root / "runs"


def test_out_and_run_are_taken(tmp_path: Path) -> None:
    runs = small(tmp_path)
    other = make_run(tmp_path / "other", Made(sampler="random", seed=5, predictions=False))
    report.main([str(runs), "--out", str(tmp_path / "here"), "--run", str(other)])
    text = (tmp_path / "here" / "report.md").read_text("utf-8")
    assert "What other answers" in text
    assert "predictions of other are no use: sst.csv is missing" in text
    assert not (runs / "report").exists()


def test_what_is_published_is_small_and_gives_away_no_texts(tmp_path: Path) -> None:
    runs, whole, small_files = tmp_path / "runs", tmp_path / "whole", tmp_path / "small"
    make_run(runs / "random", Made(sampler="random"))
    report.main([str(runs), "--out", str(whole)])
    report.main([str(runs), "--out", str(small_files), "--publish"])
    (run,), _ = find_runs([runs])
    secrets = set(run.predictions("sst")["text"])

    def told(place: Path) -> set[str]:
        files = [p.read_text("utf-8") for p in place.rglob("*") if p.suffix in (".md", ".csv")]
        return {secret for secret in secrets for file in files if html.escape(secret) in file}

    def names(place: Path) -> set[str]:
        return {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}

    assert len(told(whole)) > 3
    assert not told(small_files)
    kept = {name for name in names(whole) if not name.endswith((".png", ".html"))} | {ARCHIVE}
    assert names(small_files) == kept
    assert "report.md" in kept
    text = (small_files / "report.md").read_text("utf-8")
    assert ".html" not in text
    assert ".html" in (whole / "report.md").read_text("utf-8")
    ids = [
        [row["id"] for row in csv.DictReader(path.read_text("utf-8").splitlines())]
        for path in (place / "tables" / "a-demo-sst-mistakes.csv" for place in (whole, small_files))
    ]
    assert ids[0] == ids[1] != []


def test_a_place_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = small(tmp_path)
    (tmp_path / "file").write_text("not a directory", "utf-8")
    with pytest.raises(SystemExit) as ended:
        report.main([str(runs), "--out", str(tmp_path / "file" / "report")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("--out: expected a directory that can be written")


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = small(tmp_path)
    write_text(runs / "report" / "index.html", "an older report")

    def fail(document: Document) -> str:
        raise OSError(28, "no space left")

    monkeypatch.setattr(render, "page", fail)
    with pytest.raises(SystemExit):
        report.main([str(runs)])
    assert (runs / "report" / "index.html").read_text("utf-8") == "an older report"
    assert not list(runs.rglob("*.tmp"))
