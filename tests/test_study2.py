"""The second study's sweeps are what its page says: cells, equal work, rates that were tried."""

import importlib.util
import itertools
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from mtl_bert.config.run_key import run_name
from mtl_bert.config.settings import Settings
from mtl_bert.runs.archive import write_archive
from mtl_bert.runs.factories import make_planner
from mtl_bert.runs.methods import method_of
from mtl_bert.training.build import assemble
from mtl_bert.utils.errors import UserError
from tests.analysis.factory import Made, changed, make_run
from tests.cli.driving import SMALL
from tests.composing import settings_of

FILE = Path(__file__).parents[1] / "experiments" / "study2.py"
SIZES = {"sst": 4272, "qqp": 52_191, "sts": 3020}  # of the files at hand, limited


@pytest.fixture(scope="module")
def study() -> Any:
    spec = importlib.util.spec_from_file_location("study2", FILE)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def jobs(words: list[str]) -> list[tuple[str, ...]]:
    """The runs of a multirun: commas outside of brackets separate values."""
    choices = []
    for word in words:
        key, _, value = word.partition("=")
        values = [value] if value.startswith("{") else value.split(",")
        choices.append([f"{key}={one}" for one in values])
    return list(itertools.product(*choices))


def composed(job: tuple[str, ...]) -> Settings:
    return settings_of("data=cs224n", "model=local", *job)


def rates(study: Any) -> dict[tuple[str, str], str]:
    """Not one for all: a sweep that took another cell's would be seen."""
    cells = itertools.product(study.SAMPLERS, study.SURGERIES)
    return {cell: study.RATES[(n // 2 + n) % 3] for n, cell in enumerate(cells)}


@pytest.mark.parametrize("name", ["factorial", "frontier", "lambda", "freeze", "ladder", "single"])
def test_every_run_has_the_rate_that_its_cell_chose(study: Any, name: str) -> None:
    chosen = rates(study)
    assert len({chosen["rr", "none"], chosen["arrp", "pcgrad_paper"]}) == 2
    for _, words in study.PARTS[name](chosen):
        for job in jobs(words):
            told = dict(word.lstrip("+").split("=", 1) for word in job)
            cell = told["experiment/study2"], told.get("surgery", "none")
            assert told["lr"] == chosen[cell], job


def test_on_the_ladder_all_but_round_robin_see_as_many_examples(study: Any) -> None:
    for folder, words in study.ladder(rates(study)):
        settings = composed(jobs(words)[0])
        times = int(folder.partition("-")[2])
        sizes = {"sst": 1740, "qqp": 1740 * times, "sts": 1740}
        assert settings.data.limit == sizes
        assert (settings.epochs, settings.data.select) == (2, 0.5)
        plan = make_planner(settings, sizes)
        seen = [sum(step.examples for step in plan(epoch).steps) for epoch in (1, 2)]
        more = 0 if settings.sampler["name"] == "rr" else 1740 * (times - 1) / 4
        assert seen == pytest.approx([3 * 1740 + more] * 2, abs=24), (folder, settings.sampler)


def test_every_cell_sees_the_same_number_of_examples(study: Any) -> None:
    (_, words), *more = study.tuning()
    found = jobs(words)
    assert not more
    assert len(found) == 42
    for settings in map(composed, found[::3]):
        plan = make_planner(settings, SIZES)
        total = sum(step.examples for epoch in (1, 2) for step in plan(epoch).steps)
        assert abs(total - 22_500) <= 24, settings.sampler
        assert (settings.epochs, settings.batch_size, settings.data.select) == (2, 8, 0.5)
        assert (settings.model.pooling, settings.model.layers) == ("mean", 2)


def test_what_examples_cost_is_measured_of_every_cell_in_a_hundred_joint_steps(study: Any) -> None:
    ((folder, words),) = study.alone()
    found = jobs(words)
    assert (folder, len(found)) == ("alone", 14)
    for settings in map(composed, found):
        plan = make_planner(settings, {"sst": 400, "qqp": 52_191, "sts": 400})
        assert [sum(step.examples for step in plan(epoch).steps) for epoch in (1, 2)] in (
            [1200, 1200], [1600, 1600],
        )  # fmt: skip


def test_the_numbers_of_runs_are_those_of_the_page(study: Any) -> None:
    page = FILE.with_suffix(".md").read_text("utf-8")
    total = 42
    assert set(study.PARTS) == {
        "factorial", "frontier", "lambda", "freeze", "ladder", "single", "tables",
    }  # fmt: skip
    for name, part in study.PARTS.items():
        sweeps = [jobs(words) for _, words in part(rates(study))]
        runs = sum(map(len, sweeps))
        assert all(composed(sweep[0]) for sweep in sweeps)
        start = {"lambda": "λ × B", "freeze": "F"}.get(name, name)
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {start} |"))
        assert row.endswith(f"| {runs} |"), row
        total += runs * (name != "tables")  # which was added later
    assert f"{total} runs" in page


def test_the_tables_have_the_papers_epochs_and_its_share_of_the_files(study: Any) -> None:
    rows = [(composed(job), job[0]) for _, words in study.tables({}) for job in jobs(words)]
    names = {row.rpartition("=")[2] for _, row in rows}
    folder = FILE.parents[1] / "conf" / "experiment"
    listed = {file.stem for table in (2, 4) for file in (folder / f"table{table}").glob("*.yaml")}
    assert names == listed
    assert len(rows) == len(names)
    sizes = {"sst": 8544, "qqp": 52_191, "sts": 6040}
    for settings, row in rows:
        assert (settings.epochs, settings.batch_size, settings.lr) == (10, 8, 1e-4), row
        (told,) = re.findall(r"_(\d{5,6})$", row) or [24_000 if "arrp" in row else 0]
        paper = sizes["qqp"] / 283_010 if "arrp" in row else sum(sizes.values()) / 297_594
        assert settings.B == (round(int(told) * paper) or None), row


def test_the_rate_is_the_best_by_the_examples_that_choose(study: Any) -> None:
    def run(sampler: str, surgery: str, lr: float, scores: list[float]) -> Any:
        method = {"none": "mtl_bert.surgery.Sum", "pcgrad_paper": "mtl_bert.surgery.PCGrad"}[
            surgery
        ]
        config = {
            "sampler": {"name": sampler.replace("proportional", "vanilla")},
            "surgery": {"method": {"_target_": method}},
            "lr": lr,
        }
        return SimpleNamespace(config=config, epochs=[SimpleNamespace(score=s) for s in scores])

    cells = [(a, b) for a in study.SAMPLERS for b in study.SURGERIES]
    runs = [run(*cell, float(rate), [0.1, 0.2]) for cell in cells for rate in study.RATES]
    runs[4].epochs[0].score = 0.9  # the second cell's second rate
    tried = study.tried_rates(runs)
    assert tried[cells[0]] == dict.fromkeys(study.RATES, 0.2)
    assert tried[cells[1]] == {**dict.fromkeys(study.RATES, 0.2), study.RATES[1]: 0.9}
    with pytest.raises(UserError, match="tuning: expected 1e-4, 3e-4, 1e-3 tried with rr, none"):
        study.tried_rates(runs[1:])


@pytest.fixture(scope="module")
def frames(study: Any) -> Any:
    """Of all runs that the contrasts are about, with scores out of a generator."""
    rng, runs, scores, epochs = np.random.default_rng(1), [], [], []
    parts = [
        study.PARTS[name](rates(study)) for name in ("factorial", "frontier", "lambda", "freeze")
    ]
    for _, words in itertools.chain(*parts):
        *cell, seeds = words
        for job, seed in itertools.product(jobs(cell), seeds.partition("=")[2].split(",")):
            method, run = method_of(composed(job).config()), f"factorial/{len(runs)}"
            values = dict(zip(("sst", "qqp", "sts"), rng.uniform(0.4, 0.6, 3), strict=True))
            runs.append(
                {"run": run, "seed": int(seed), "sampler": method.sampler, "B": method.B,
                 "lambda_": method.lambda_, "frozen": " ".join(method.frozen),
                 "surgery": method.surgery, "rest": method.rest, "score": sum(values.values()) / 3,
                 "superseded": False}
            )  # fmt: skip
            scores += [{"run": run, "task": task, "value": 2 * v - 1 if task == "sts" else v,
                        "lowest": -1.0 if task == "sts" else 0.0, "highest": 1.0}
                       for task, v in values.items()]  # fmt: skip
            epochs += [{"run": run, "epoch_score": rng.uniform(0.4, 0.6)} for _ in (1, 2)]
    made = {"runs": runs, "scores": scores, "epochs": epochs}
    return SimpleNamespace(**{name: pd.DataFrame(rows) for name, rows in made.items()})


def test_the_contrasts_are_those_of_the_page(study: Any, frames: Any) -> None:
    found = study.judged(frames).set_index("contrast")
    page = FILE.with_suffix(".md").read_text("utf-8")
    assert re.findall(r"^\| (C\d) \|", page, re.M) == list(found.index)
    assert (found["seeds"] == 7).all()

    runs = frames.runs.copy()
    runs["chose"] = frames.epochs.groupby("run")["epoch_score"].max().loc[runs["run"]].to_numpy()
    scores = frames.scores.pivot(index="run", columns="task", values="value").loc[runs["run"]]
    runs["small"] = ((scores["sst"] + (scores["sts"] + 1) / 2) / 2).to_numpy()

    def cell(query: str, what: str = "score") -> Any:
        rows = runs.query(query).sort_values("seed")
        assert list(rows["seed"]) == list(range(11, 18)), query
        return rows[what].to_numpy()

    plain = "B == 2190 and lambda_ == 0.5 and frozen == ''"
    query = {
        name: f"sampler == '{name}'"
        for name in ("rr", "vanilla", "unimax", "annealed", "two_stage")
    }
    query["arrp"] = f"sampler == 'arrp' and {plain}"
    for degree in ("1", "2", "5", "Infinity"):
        query[degree] = (
            f"sampler == 'temperature' and rest.str.contains(r'temperature={degree}(?:,|$)')"
        )
    pcgrad = {n: f"{q} and surgery.str.startswith('PCGrad')" for n, q in query.items()}
    plain_sum = {n: f"{q} and surgery.str.startswith('Sum')" for n, q in query.items()}
    gains = {n: cell(pcgrad[n]) - cell(plain_sum[n])
             for n in ("rr", "vanilla", "2", "unimax", "annealed", "two_stage",
                       "arrp")}  # fmt: skip
    best = max(("vanilla", "unimax", "1", "2", "5", "Infinity"),
               key=lambda n: cell(plain_sum[n], "chose").mean())  # fmt: skip

    def arrp(B: int, lambda_: float) -> Any:
        return cell(f"sampler == 'arrp' and B == {B} and lambda_ == {lambda_} and frozen == '' "
                    "and surgery.str.startswith('PCGrad')")  # fmt: skip

    expected = [
        cell(pcgrad["arrp"]) - cell(pcgrad["rr"]),
        cell(pcgrad["annealed"]) - cell(pcgrad["arrp"]),
        cell(pcgrad["annealed"]) - cell(pcgrad["vanilla"]),
        np.mean(list(gains.values()), axis=0),
        gains["annealed"] - gains["arrp"],
        cell(pcgrad["arrp"]) - cell(pcgrad["two_stage"]),
        cell(plain_sum[best]) - cell(pcgrad["arrp"]),
        cell("sampler == 'arrp' and frozen != ''", "small") - cell(pcgrad["arrp"], "small"),
        arrp(8760, 0.1) - arrp(8760, 0.5) - arrp(2190, 0.1) + arrp(2190, 0.5),
    ]
    np.testing.assert_allclose(found["mean"], [each.mean() for each in expected])
    tests = [scipy.stats.ttest_1samp(each, 0) for each in expected]
    np.testing.assert_allclose(found["p"], [test.pvalue for test in tests])
    intervals = [test.confidence_interval() for test in tests]
    np.testing.assert_allclose(found[["low", "high"]], intervals)


def test_a_difference_is_judged_by_its_family_and_its_margin(study: Any, frames: Any) -> None:
    runs = frames.runs.assign(score=0.5 + 1e-4 * frames.runs["seed"])
    rr = (runs["sampler"] == "rr") & runs["surgery"].str.startswith("PCGrad")
    runs.loc[rr, "score"] -= 0.05 + 1e-3 * (runs.loc[rr, "seed"] % 3)
    told = study.judged(SimpleNamespace(**{**vars(frames), "runs": runs})).set_index("contrast")
    assert told.loc["C1", "verdict"] == "higher"
    assert told.loc["C2", "verdict"] == "equivalent"
    assert told.loc["C1", "p_holm"] == pytest.approx(9 * told.loc["C1", "p"])
    assert told.loc["C8", "verdict"] == "undecided"  # of the tasks' own numbers, which are random


def test_contrasts_that_have_not_run_are_in_the_family_too(study: Any, frames: Any) -> None:
    factorial = frames.runs[
        (frames.runs["frozen"] == "")
        & ~frames.runs["rest"].str.contains("temperature=(?:1|5|Infinity)(?:,|$)")
        & ((frames.runs["sampler"] != "arrp")
           | ((frames.runs["B"] == 2190) & (frames.runs["lambda_"] == 0.5)))
    ]  # fmt: skip
    told = study.judged(SimpleNamespace(**{**vars(frames), "runs": factorial}))
    told = told.set_index("contrast")
    assert list(told.index[told["verdict"] == "not run"]) == ["C7", "C8", "C9"]
    assert list(told.index[told["seeds"] == 0]) == ["C7", "C8", "C9"]
    least = told["p"].min()
    assert told["p_holm"].min() == pytest.approx(min(1.0, 9 * least))


def test_the_ladder_is_each_sampler_less_round_robin_of_the_same_rung_and_seed(study: Any) -> None:
    rng, runs, scores = np.random.default_rng(2), [], []
    of: dict[tuple[int, str, str], list[float]] = {}
    for folder, words in study.ladder(rates(study)):
        *cell, seeds = words
        for job, seed in itertools.product(jobs(cell), seeds.partition("=")[2].split(",")):
            times, run = int(folder.partition("-")[2]), f"{folder}/{len(runs)}"
            values = dict(zip(("sst", "qqp", "sts"), rng.uniform(0.4, 0.6, 3), strict=True))
            sampler = method_of(composed(job).config()).sampler
            means = {"score": sum(values.values()) / 3, "qqp": values["qqp"],
                     "small": (values["sst"] + values["sts"]) / 2}  # fmt: skip
            for what, value in means.items():
                of.setdefault((times, sampler, what), []).append(value)
            runs.append(
                {
                    "run": run,
                    "seed": int(seed),
                    "sampler": sampler,
                    "score": means["score"],
                    "superseded": False,
                }
            )
            scores += [{"run": run, "task": task, "value": 2 * v - 1 if task == "sts" else v,
                        "lowest": -1.0 if task == "sts" else 0.0, "highest": 1.0}
                       for task, v in values.items()]  # fmt: skip
    epochs = [{"run": run["run"], "epoch_score": 0.5} for run in runs]
    made = {"runs": runs[::-1], "scores": scores, "epochs": epochs}
    frames = SimpleNamespace(**{name: pd.DataFrame(rows) for name, rows in made.items()})
    found = study.laddered(frames)
    assert len(found) == 4 * 3 * 3
    assert set(found["times"]) == {1, 3, 10, 30}
    assert (found["seeds"] == 5).all()
    for times, sampler, what, _, *told in found.itertuples(index=False, name=None):
        minus = np.subtract(of[times, sampler, what], of[times, "rr", what])
        interval = scipy.stats.ttest_1samp(minus, 0).confidence_interval()
        assert told == pytest.approx([minus.mean(), interval.low, interval.high])


def test_a_run_that_a_newer_one_replaces_does_not_count(study: Any, frames: Any) -> None:
    told = study.judged(frames)
    older = frames.runs.assign(score=0.0, superseded=True)
    both = pd.concat([older, frames.runs], ignore_index=True)
    pd.testing.assert_frame_equal(
        study.judged(SimpleNamespace(**{**vars(frames), "runs": both})), told
    )


class Programs:
    """Stands for the programs that a study starts: it notes them, and ends as it is told."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.codes: dict[str, int] = {}  # of a command that has the word

    def __call__(self, command: list[str]) -> int:
        self.commands.append([str(word) for word in command])
        if "mtl_bert.train" in command:
            (folder,) = (word for word in command if word.startswith("hydra.sweep.dir="))
            place = Path(folder.partition("=")[2])
            run = place / f"run{len([*place.glob('*')])}"
            run.mkdir(parents=True)
            (run / "results.json").touch()
        return next((code for word, code in self.codes.items() if word in command), 0)


@pytest.fixture
def programs(study: Any, monkeypatch: pytest.MonkeyPatch) -> Programs:
    found = Programs()
    monkeypatch.setattr(study, "carried_out", found)
    monkeypatch.setattr(study, "read", lambda *_: None)
    for name in ("judged", "laddered"):
        monkeypatch.setattr(study, name, lambda _, name=name: pd.DataFrame({name: [1]}))
    return found


@pytest.fixture
def out(study: Any, tmp_path: Path) -> Path:
    """Where rates have been published, and no run yet."""
    place = tmp_path / "out"
    place.mkdir()
    (place / study.TUNED).write_bytes((study.PUBLISHED / study.TUNED).read_bytes())
    return place


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str, str]:
    """Of the data, whose name a sweep could take for two, of an encoder and of the runs."""
    made = tmp_path / "a, b", tmp_path / "net"
    for place in made:
        place.mkdir()
    return str(made[0]), str(made[1]), str(tmp_path / "runs")


def ended_with(study: Any, *words: str) -> int:
    with pytest.raises(SystemExit) as end:
        study.main(list(words))
    return int(end.value.code or 0)


def test_the_parts_run_in_order_and_each_is_published(
    study: Any, programs: Programs, out: Path, places: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    runs = Path(places[2]) / "runs"
    assert ended_with(study, *places, "--parts", "freeze,single", "--out", str(out)) == 0
    first, report, second, again = programs.commands
    assert "freeze=all_but_head" in first
    assert "sampler=single" in second
    assert f"hydra.sweep.dir={runs / 'factorial'}" in first
    assert f'data.dir="{places[0]}"' in first  # one folder, not a sweep of two
    assert report == again
    published = [str(runs), "--tuned", "lr", "--publish", "--out", str(out)]
    assert report[2:] == ["mtl_bert.report", *published]
    assert (out / "contrasts.csv").read_text("utf-8") == "judged\n1\n"
    # The best of each row of rates.csv.
    assert "arrp, pcgrad_paper: lr=3e-4" in capsys.readouterr().out
    assert "lr=3e-4" in first


def test_what_was_not_chosen_yet_is_tuned_and_stands_in_no_report(
    study: Any, programs: Programs, places: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = itertools.product(study.SAMPLERS, study.SURGERIES)
    tried = {cell: {"1e-4": 0.5, "3e-4": 0.75, "1e-3": 0.25} for cell in cells}
    monkeypatch.setattr(study, "tried_rates", lambda _: tried)
    monkeypatch.setattr(study.RunFolder, "read_results", lambda _: None)
    # With a setting of one's own nothing is taken from what is published, nor put there.
    runs = Path(places[2])
    assert ended_with(study, *places, "epochs=1", "--parts", "single") == 0
    tuning, single, report = programs.commands
    assert tuning[-1] == single[-1] == "epochs=1"
    assert f"hydra.sweep.dir={runs / 'tuning'}" in tuning
    assert "lr=3e-4" in single
    assert report[3] == str(runs / "runs")
    assert report[-1] == str(runs / "published")
    assert "rr,none,0.5000,0.7500,0.2500" in (runs / "published" / study.TUNED).read_text("utf-8")


def test_what_fails_is_the_exit_code_and_what_stops_is_the_end(
    study: Any, programs: Programs, out: Path, places: tuple[str, str, str]
) -> None:
    words = *places, "--parts", "freeze,single", "--out", str(out)
    programs.codes = {"freeze=all_but_head": 2}
    assert ended_with(study, *words) == 2
    assert "sampler=single" in programs.commands[2]  # the others went on
    programs.commands.clear()
    programs.codes = {"mtl_bert.report": 3}
    (out / "contrasts.csv").unlink()
    assert ended_with(study, *words) == 3
    assert not (out / "contrasts.csv").exists()  # not beside an older report
    programs.commands.clear()
    programs.codes = {"freeze=all_but_head": 75}
    assert ended_with(study, *words) == 75
    assert len(programs.commands) == 1


def test_asked_to_stop_it_has_the_sweep_save_and_waits_for_it(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    sweep = (
        "import signal, sys, time, pathlib; "
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3),"
        f" pathlib.Path({str(saved)!r}).touch(), sys.exit(75))); print(flush=True); time.sleep(60)"
    )
    program = (
        f"import sys; sys.path.insert(0, {str(FILE.parent)!r}); import study2\n"
        f"sys.exit(study2.carried_out([sys.executable, '-c', {sweep!r}]))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the sweep listens
        process.terminate()
        assert process.wait() == 75
    assert saved.exists()


def test_what_is_wrong_is_told_before_anything_begins(
    study: Any, programs: Programs, places: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data, encoder, runs = places
    file = Path(encoder) / "file"
    file.touch()
    for words, said in (
        ((*places, "--parts", "single,freez"), "--parts: expected some of factorial, frontier, "),
        ((*places, "--parts", ""), "found ''"),
        ((*places, "--jobs", "0"), "--jobs: expected 1 or more, found 0"),
        ((runs, encoder, runs), f"data: expected a folder, found none at {runs}"),
        ((data, str(file), runs), f"encoder: expected a folder, found none at {file}"),
        ((data, encoder, str(file)), f"folder: expected a folder, found a file at {file}"),
    ):
        assert ended_with(study, *words) == 2
        assert said in capsys.readouterr().err
    assert not programs.commands
    assert not Path(runs).exists()


def test_published_runs_are_found_where_data_and_encoder_lie_elsewhere(
    study: Any, tmp_path: Path
) -> None:
    here, there, archive = tmp_path / "here", tmp_path / "there", tmp_path / "runs.tar.xz"

    def settings(folder: str, sampler: str) -> Settings:
        return composed((
            f"+experiment/study2={sampler}", f"data.dir={folder}/files", f"model.path={folder}/net",
            "sampler.temperature=inf" if sampler == "temperature" else "seed=12",
        ))  # fmt: skip

    for sampler in ("temperature", "arrp"):
        run = here / "factorial" / sampler
        make_run(run, Made())
        changed(run, config=json.loads(settings("/old", sampler).model_dump_json(by_alias=True)))
    write_archive({f"factorial/{run.name}": run for run in (here / "factorial").iterdir()}, archive)
    study.unpack(archive, there, Path("/new/files"), Path("/new/net"))
    named = {name: run_name(settings("/new", name)) for name in ("temperature", "arrp")}
    assert {path.name for path in (there / "factorial").iterdir()} == {*named.values()}
    own = there / "factorial" / named["arrp"]
    assert study.RunFolder(own).read_results().config["sampler"]["name"] == "arrp"
    assert (own / "predictions" / "sst.csv").exists()
    # What is there is newer, and stays.
    (own / "results.json").write_text("mine", "utf-8")
    study.unpack(archive, there, Path("/new/files"), Path("/new/net"))
    assert (own / "results.json").read_text("utf-8") == "mine"
    # A part of an archive is none, and nothing is written.
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"runs\.tar\.xz: expected an archive of finished runs"):
        study.unpack(archive, tmp_path / "nowhere", Path("/new/files"), Path("/new/net"))
    assert not (tmp_path / "nowhere").exists()


def test_what_is_published_is_what_the_published_runs_say(study: Any, tmp_path: Path) -> None:
    with tarfile.open(study.PUBLISHED / "runs.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    frames = study.read(tmp_path)
    assert frames.warnings == ()
    planned = {folder for part in study.PARTS.values() for folder, _ in part(rates(study))}
    assert set(frames.runs["run"].str.partition("/")[0]) <= planned
    assert not frames.runs["commit"].str.contains("dirty").any()
    verdicts = study.judged(frames)
    for name, found in {"contrasts": verdicts, "ladder": study.laddered(frames)}.items():
        text = found.to_csv(index=False, float_format="%.4f", lineterminator="\n")
        assert text == (study.PUBLISHED / f"{name}.csv").read_text("utf-8"), name
    listed = pd.concat(
        pd.read_csv(path) for path in (study.PUBLISHED / "tables").glob("*-runs.csv")
    )
    own = frames.runs.astype({"run": str}).set_index("run")["score"].sort_index()
    pd.testing.assert_series_equal(listed.set_index("run")["score"].sort_index(), own)
    page = FILE.parents[1].joinpath("docs", "what-we-found.md").read_text("utf-8")
    for one in verdicts.itertuples():
        mean, low, high = (f"{v:.3f}".replace("-", "−") for v in (one.mean, one.low, one.high))
        assert any(f"{sign}{mean} [{low}, {high}]" in page for sign in ("", "+")), one.words


def test_cells_are_paired_as_the_page_says(study: Any) -> None:
    """One seed: the same heads to begin with, and in the first epoch one order of each task."""
    orders: dict[str, dict[str, list[int]]] = {}
    for sampler in study.SAMPLERS:
        plan = make_planner(composed((f"+experiment/study2={sampler}", "seed=11")), SIZES)
        orders[sampler] = {task: [] for task in SIZES}
        for step in plan(1).steps:
            for task, rows in step.rows.items():
                orders[sampler][task] += [int(row) for row in rows]
    for sampler in set(study.SAMPLERS) - {"proportional", "two_stage"}:
        for task, order in orders["rr"].items():
            own = orders[sampler][task]
            both = min(len(own), len(order))
            assert both > 500
            assert own[:both] == order[:both], (sampler, task)
    models = [
        assemble(settings_of(*SMALL, f"sampler={sampler}", "epochs=2", f"surgery={surgery}"))
        for sampler, surgery in zip(study.SAMPLERS, itertools.cycle(study.SURGERIES), strict=False)
    ]
    first, *others = ({n: w.tolist() for n, w in m.module.model.state_dict().items()}
                      for m in models)  # fmt: skip
    assert all(other == first for other in others)
