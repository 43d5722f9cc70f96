"""A run's folder from a stranger: its commands call, follow, show and believe nothing in it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

import mtl_bert
from mtl_bert.inference.opened import Run
from mtl_bert.utils.errors import UserError
from tests.cli.driving import SMALL, Command, train_here
from tests.cli.test_wrong_values import refused
from tests.factories import assert_tells

ESCAPE = "\x1b]0;owned\x07\x1b[2J[red]\u202e"

CANARY = """
from pathlib import Path
from mtl_bert.tasks import MetricRange
note = Path(__file__).with_name("imported").touch
note()

def score(**settings):
    Path(__file__).with_name("called").touch()
    return MetricRange(**settings)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest run."""
    folder = tmp_path_factory.mktemp("honest") / "run"
    train_here(folder, "sampler=rr", "B=16")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it, for a stranger to change."""
    return shutil.copytree(made, tmp_path / "run")


def change(run: Path, edit: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    """Change the run's configuration."""
    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    edit(config)
    (run / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")


def contents(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}


COMMANDS = (
    ("evaluate", "run"),
    ("predict", "run", "--split", "dev"),
    ("predict", "run", "--task", "sst", "--text", "a"),
    ("export", "run", "out"),
    ("train", "resume=run", "epochs=2"),
    ("train", *SMALL, "sampler=rr", "B=16", "epochs=2", "hydra.run.dir=run"),
)


def test_nothing_is_called_unless_the_folder_is_named_again(
    run: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "canary.py").write_text(CANARY)
    monkeypatch.syspath_prepend(tmp_path)
    change(run, lambda c: c["tasks"]["sst"]["score"].update(_target_="canary.score"))
    before = contents(tmp_path)
    for words in (*COMMANDS, ("dashboard", "--run", "run", "--out", "out")):
        outcome = command(*words)
        refused(outcome.code, outcome.err, "found tasks.sst.score._target_=canary.score|write")
        assert contents(tmp_path) == before, words
    assert "--trust run" in command("evaluate", "run", "--trust", str(tmp_path)).err
    trusted = command("evaluate", "run", "--trust", "run")
    assert trusted.code == 0, trusted.err
    assert (tmp_path / "called").exists()
    # Whoever names the callable knows it, and what one has made oneself is one's own.
    named = ("resume=run", "++tasks.sst.score._target_=canary.score", "epochs=2")
    for words in (named, ("resume=run", "trust=run", "epochs=3")):
        opened = mtl_bert.train(*words)
    assert opened.results.last_epoch == 3
    assert "trust=run" not in (opened.results.overrides or ())


@pytest.mark.parametrize("words", COMMANDS[:5], ids=" ".join)
def test_another_runs_checkpoint_is_refused_by_name(
    run: Path, command: Command, words: tuple[str, ...]
) -> None:
    change(
        run, lambda c: c.update(run_key="rr-B16-seed2-0a1b2c3d")
    )  # as if the folder's checkpoints had been mixed up
    before = contents(run)
    outcome = command(*words)
    refused(
        outcome.code,
        outcome.err,
        ".ckpt: expected a checkpoint of the run rr-B16-seed2-|found one of rr-B16-seed1-",
    )
    assert contents(run) == before


def test_anothers_best_one_is_refused_before_anything_is_written(
    run: Path, command: Command
) -> None:
    best = run / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    torch.save(content | {"run": "arrp-seed1-0a1b2c3d"}, best)
    before = contents(run)
    outcome = command("train", "resume=run", "epochs=2")
    refused(outcome.code, outcome.err, "best.ckpt: expected|found one of arrp-seed1-0a1b2c3d")
    assert contents(run) == before


LINKS = ("train.log", "predictions", "predictions/sst.csv", "csv", "checkpoints", ".lock")


@pytest.mark.parametrize("link", LINKS)
def test_links_that_lead_out_are_not_written_through(
    run: Path, command: Command, tmp_path: Path, link: str
) -> None:
    path, outside = run / link, tmp_path / "outside"
    if path.is_dir():
        shutil.move(path, outside)
    else:
        outside.write_text("mine")
        path.unlink(missing_ok=True)
    path.symlink_to(os.path.relpath(outside, path.parent))
    before = contents(tmp_path)
    outcome = command("train", "resume=run", "epochs=2")
    refused(outcome.code, outcome.err, f"run/{link}: expected|elsewhere")
    if link.startswith("predictions"):
        with pytest.raises(UserError) as error:
            Run.open(run).predictions("sst")
        assert_tells(error.value, "sst.csv")
    assert contents(tmp_path) == before


def test_submissions_stay_in_the_run(run: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (run / "submission").symlink_to(tmp_path / "outside")
    outcome = command("predict", "run", "--split", "dev")
    refused(outcome.code, outcome.err, "run/submission: expected|elsewhere")
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize("name", ["../../secret", ESCAPE])
def test_a_task_is_no_path_and_no_escape_sequence(run: Path, command: Command, name: str) -> None:
    text = (run / "results.json").read_text("utf-8")
    written = text.replace('"sst"', f'"{name}"'.encode("unicode_escape").decode())
    (run / "results.json").write_text(written.replace("\\x", "\\u00"), "utf-8")
    outcome = command("evaluate", "run")
    refused(outcome.code, outcome.err, "results.json: expected the results of a run|found")
    assert outcome.err.replace("\n", "").isprintable()
    (run / "results.json").write_text(text.replace('"sst"', '"qqp"'), "utf-8")
    outcome = command("evaluate", "run")
    refused(outcome.code, outcome.err, "results.json: expected sst, sts, the tasks|found qqp, sts")


def test_names_stay_plain_text_on_the_terminal(run: Path, command: Command) -> None:
    change(run, lambda c: c["tasks"]["sst"]["head"].update(names=[ESCAPE, *"bcde"]))
    results = (run / "results.json").read_text("utf-8")
    escaped = ESCAPE.encode("unicode_escape").decode().replace("\\x", "\\u00")
    for word in ('"accuracy"', '"demo"'):
        results = results.replace(word, f'"{escaped}"')
    (run / "results.json").write_text(results, "utf-8")
    for words in COMMANDS[:3]:
        outcome = command(*words)
        assert outcome.code == 0, outcome.err
        assert "owned" in outcome.out + outcome.err or "--split" in words
        assert (outcome.out + outcome.err).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "cut",
    [
        lambda text: text[: text.rindex("\n", 0, -1) + 1],
        lambda text: text[: text.rindex(",")],
        lambda text: text.partition("\n")[0] + "\n",
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: text.replace("label", "lable", 1),
        lambda text: "",
        lambda text: "\0",
    ],
)
def test_cut_predictions_are_refused(run: Path, cut: Callable[[str], str]) -> None:
    path = run / "predictions" / "sst.csv"
    path.write_text(cut(path.read_text("utf-8")), "utf-8")
    with pytest.raises(UserError) as error:
        Run.open(run).predictions("sst")
    assert_tells(error.value, str(path))
