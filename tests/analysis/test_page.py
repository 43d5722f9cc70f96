"""The page answers first, holds what it says without scripts, and runs nobody else's."""

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from mtl_bert.analysis import page, paper
from mtl_bert.analysis.frames import read
from mtl_bert.analysis.leaderboard import Comparison
from mtl_bert.analysis.run_view import WORST, mistakes
from tests.analysis.conftest import ATTRIBUTE, HOSTILE, Seen, Written, reported, rows_of
from tests.analysis.factory import HEADS, METRICS, RANGES, Made, changed, made_of, make_run


@pytest.fixture(scope="module")
def seen(written: Written) -> Seen:
    return Seen(written.page)


def test_the_first_screen_has_sentence_badges_answer_leaderboard_and_chart(
    written: Written,
) -> None:
    text = written.page
    first = Comparison(read(written.root), "A")
    places = [
        text.index("<h1 id="),
        text.index('class="badge">SYNTHETIC<'),
        text.index(first.recommend().split(" (")[0]),
        text.index("Leaderboard"),
        text.index('data-chart="a-demo-tradeoff"'),
        text.index("<nav aria-label"),
    ]
    assert places == sorted(places)
    title = re.search(r"<h1 id=.*?>(.*?)</h1>", text)
    assert title
    assert (
        title[1]
        == f"{len(first.methods)} methods compared on sst, qqp and sts of demo, 1 to 3 seeds"
    )


def test_without_scripts_every_method_and_run_stands_in_a_table(
    written: Written, seen: Seen
) -> None:
    frames = read(written.root)
    texts = {text.strip() for text in seen.texts}
    assert {*map(str, frames.runs["run"]), *map(str, frames.runs["method"])} <= texts
    assert any("Scripts are off" in text for text in texts)
    rows = Comparison(frames, "A").leaderboard().to_dict("records")
    for row in rows:
        sd = "" if row["seeds"] < 2 else f" ± {row['score_sd']:.3f}"
        assert f"{row['score']:.3f}{sd}" in texts


def test_only_the_page_s_own_scripts_may_run_and_nothing_may_load(
    written: Written, seen: Seen
) -> None:
    policy = next(a["content"] for tag, a in seen.elements if tag == "meta" and "content" in a
                  and "script-src" in (a["content"] or ""))  # fmt: skip
    assert policy
    assert policy.startswith("default-src 'none'")
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    scripts = re.findall(r"<script>(.*?)</script>", written.page, re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert (digests, len(scripts)) == (allowed, 2)
    loading = [
        a for _, a in seen.elements for name in ("src", "href") if (a.get(name) or "#")[0] != "#"
    ]
    assert [a.get("href") for a in loading] == ["data:,"]


def test_texts_of_others_are_texts_in_the_page(written: Written, seen: Seen) -> None:
    scripts = [a.get("type") for tag, a in seen.elements if tag == "script"]
    assert scripts == ["text/html"] * len(written.views) + ["application/json", None, None]
    views = [Seen(view) for view in written.views]
    for part in (seen, *views):
        assert not [a for _, a in part.elements if "onmouseover" in a]
        assert not [tag for tag, _ in part.elements if tag == "b"]
    assert not [tag for view in views for tag, _ in view.elements if tag == "script"]
    assert any(HOSTILE in text for text in seen.texts)
    assert any(ATTRIBUTE in text for text in seen.texts)
    assert HOSTILE not in written.page
    # A film of the 3th kind, <b>bold</b> & moving.
    assert any("<b>bold</b> & moving" in text for text in seen.texts)
    assert any(f"real{HOSTILE}" in view.texts for view in views)


def test_texts_of_others_are_texts_in_markdown(written: Written) -> None:
    text = (written.out / "report.md").read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;script&gt;" in text


def test_what_was_left_out_is_said_without_moving_the_cursor(written: Written) -> None:
    assert written.stderr.count("\n") == 1
    assert "\x1b" not in written.stderr
    assert "left out" in written.stderr
    assert "left out" in written.page
    assert written.stdout.startswith(f"{len(read(written.root).runs)} runs; report written to ")


def test_every_chart_of_the_page_is_in_its_data(written: Written, seen: Seen) -> None:
    charts = {a["data-chart"] for _, a in seen.elements if "data-chart" in a}
    of_views = {name for view in written.views for name in re.findall('data-chart="(.*?)"', view)}
    assert charts | of_views == set(written.charts)
    assert len(charts) > 8
    for name in charts:
        title = str(written.charts[str(name)]["title"])
        assert "synthetic" in title or "contaminated" in title


def test_every_method_may_be_the_baseline(written: Written) -> None:
    compared = Comparison(read(written.root), "A")
    start = written.page.index("data-board")
    head, *rows = rows_of(written.page[start : written.page.index("</figure>", start)])
    shown = re.findall(r"data-choice( hidden)?>", written.page[start:])[: len(compared.methods)]
    assert shown == ["" if m == compared.baseline() else " hidden" for m in compared.methods]
    for base in (compared.methods[2], compared.methods[-1]):
        place = head.index(f"against {base}")
        wanted = {row["method"]: page.versus(row).text
                  for row in compared.against(base).to_dict("records")}  # fmt: skip
        assert {row[0]: row[place] for row in rows} == wanted | {base: "baseline"}


def table_of(view: str, kind: str) -> list[list[str]]:
    start = view.index(f'<figcaption id="view-{kind}">')
    return rows_of(view[start : view.index("</figure>", start)])


def test_a_run_s_view_has_its_numbers(written: Written) -> None:
    frames = read(written.root)
    names = [Seen(view).texts for view in written.views]
    assert [run in texts for run, texts in zip(frames.runs["run"], names, strict=True)]
    view = next(view for view in written.views if "<h1>demo/quarrel</h1>" in view)
    own = frames.scores[frames.scores["run"] == "demo/quarrel"]
    scores = dict(zip(own["task"], own["value"], strict=True))
    shown = {row[0]: float(row[2].replace("−", "-")) for row in table_of(view, "scores")[1:]}
    assert shown == pytest.approx(scores, abs=5e-4)
    charts = dict(re.findall(r'data-chart="view-(\w+)" data-rows="(.*?)"', view, re.DOTALL))
    assert list(charts) == ["course", "pairs_course", "parts_course", "layers"]
    points = pd.read_csv(io.StringIO(charts["course"])).set_index(["epoch", "task"])
    for row in frames.epochs[frames.epochs["run"] == "demo/quarrel"].to_dict("records"):
        assert points["value"][row["epoch"], row["task"]] == pytest.approx(row["value"], rel=1e-3)
        assert points["value"][row["epoch"], "score"] == pytest.approx(row["epoch_score"], rel=1e-3)
    texts = [row[1] for row in table_of(view, "answers") if row[0] == "sst"]
    assert len(texts) == WORST
    assert all("bold" in text for text in texts)
    untrained = next(view for view in written.views if "<h1>demo/random-seed1</h1>" in view)
    head, row = table_of(untrained, "run")
    assert dict(zip(head, row, strict=True))["best epoch"] == "0"


def test_mistakes_are_the_worst_first(written: Written) -> None:
    frames = read(written.root)
    own = frames.scores[frames.scores["run"] == "demo/rr-2"].set_index("task", drop=False)
    for task, by in (("sst", "confidence"), ("sts", "error")):
        found = mistakes(frames, own.loc[task].to_dict(), 10_000)
        answers = frames.answers("demo/rr-2", task)
        wrong = answers[answers["label"] != answers["prediction"]]
        assert len(found) == len(wrong)
        assert found["sure"].is_monotonic_decreasing
        error = (wrong["label"] - wrong["prediction"]).abs()
        worst = (wrong["confidence"] if by == "confidence" else error).max()
        assert found["sure"].iloc[0] == worst


def test_the_markdown_answers_and_is_short(written: Written) -> None:
    text = (written.out / "report.md").read_text("utf-8")
    first = Comparison(read(written.root), "A")
    answer = first.recommend().split(" (")[0]
    assert text.index("# ") < text.index(answer) < text.index("| method |")
    assert len(text.splitlines()) < 120
    named = re.findall(r"\]\((tables/.*?\.csv)\)", text)
    assert {written.out / name for name in named} | {
        written.out / "tables" / f"a-demo-{told}.csv" for told in ("leaderboard", "claims")
    } >= {path for path in (written.out / "tables").iterdir() if path.name.startswith("a-")}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Fifty tasks that are nobody's but the user's, trained for one epoch with one seed each."""
    root, names = tmp_path_factory.mktemp("theirs"), [f"task_{n:02}" for n in range(50)]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setitem(HEADS, name, {**HEADS["qqp"], "names": ["=no", "yes"]})
            patch.setitem(METRICS, name, "accuracy")
            patch.setitem(RANGES, name, (0, 1))
        for sampler in ("rr", "vanilla"):
            make_run(root / sampler, Made(
                sampler=sampler, epochs=1, data="mine", synthetic=False, encoder="mine",
                sizes=dict.fromkeys(names, 90), dev=dict.fromkeys(names, 9),
                accuracies=dict.fromkeys(names, 0.5),
            ))  # fmt: skip
        changed(root / "rr", overrides=["sampler=rr", "data.dir=/home/me/mine"])
    return reported(root)


def test_own_tasks_are_reported_without_a_word_of_the_paper(theirs: Written) -> None:
    everything = Seen(theirs.page).texts
    page_text = " ".join(everything) + (theirs.out / "report.md").read_text("utf-8")
    assert not re.search(r"paper|Table [1-4]|sst|qqp|Δm", page_text, re.IGNORECASE)
    assert "2 methods compared on 50 tasks of mine, 1 seed" in page_text
    assert "one common seed" in page_text
    assert not (theirs.out / "tables" / "a-mine-claims.csv").exists()


def test_no_table_of_many_tasks_is_wider_than_people_read(theirs: Written) -> None:
    heads = [row.count("<th") for row in re.findall(r"<thead>.*?</thead>", theirs.page)]
    wide = [heads.index(n) for n in heads if n > 16]
    assert len(heads) > 5
    assert len(wide) <= 1  # each task's metric, which scrolls


def test_one_run_alone_makes_a_page_that_says_how_to_make_the_missing_rows(tmp_path: Path) -> None:
    make_run(tmp_path / "one", made_of(paper.row(4, "arrp_f0_lambda05")))
    made = reported(tmp_path)
    assert made.stdout.startswith("1 run; ")
    assert "is the only method" in made.page
    commands = re.findall(r"mtl-bert train -m \+experiment/table4=(\S+) seed=1,2,3", made.page)
    wanted = [row.experiment for row in paper.rows(4) if row.experiment != "arrp_f0_lambda05"]
    assert [command.split(",") for command in commands] == [wanted]


def test_what_one_answer_for_all_would_reach_is_said(tmp_path: Path) -> None:
    """By every run no better in sst, by one in sts."""
    constants = {"rr": {"sst": 0.99, "sts": 0.0}, "annealed": {"sst": 0.99, "sts": 0.99}}
    for sampler, known in constants.items():
        place = make_run(tmp_path / sampler, Made(sampler=sampler))
        tasks = json.loads((place / "results.json").read_text("utf-8"))["tasks"]
        changed(place, tasks={t: of | {"constant": known.get(t)} for t, of in tasks.items()})
    text = reported(tmp_path).page
    assert "Nothing has learned sst: one answer for all is as good." in html.unescape(text)
    board = pd.read_csv(tmp_path / "report" / "tables" / "a-demo-leaderboard.csv")
    missed = dict(zip(board["method"].str.split().str[0], board["unlearned"], strict=True))
    assert missed == {"RR": "sst", "annealed": "sst, sts"}
    told = pd.read_csv(tmp_path / "report" / "tables" / "a-demo-tasks.csv")
    last = told.iloc[-1]
    assert last["method"] == "one answer for all"
    assert last["sst.value"] == 0.99
    assert last["sts.value"] == pytest.approx(0.495)
    assert pd.isna(last["qqp.value"])
