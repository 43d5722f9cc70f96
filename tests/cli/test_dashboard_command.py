"""``mtl-bert dashboard`` without an account, and W&B's sweep file."""

import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from mtl_bert.tracking import wandb_workspaces as publishing
from tests.cli.driving import Command, train_here
from tests.composing import settings_of
from tests.documented import promised
from tests.factories import assert_tells

SWEEP = Path(__file__).parents[2] / "experiments" / "wandb_sweep.yaml"


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "login", lambda **_: False)


def test_without_an_account_it_writes_files_and_says_so(command: Command, tmp_path: Path) -> None:
    outcome = command("dashboard", "--entity", "someone")
    assert (outcome.code, outcome.err) == (0, "")
    (line,) = outcome.out.splitlines()
    assert line.startswith("no W&B account is logged in: nothing was created; ")
    files = sorted(path.name for path in (tmp_path / "dashboards").iterdir())
    assert files == ["run.json", "sweep.json"]
    assert all(f"dashboards/{file}" in line for file in files)


def test_without_a_network_too(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(**_: Any) -> bool:
        raise wandb.errors.CommError("nobody there\nat all")

    monkeypatch.setattr(wandb, "login", unreachable)
    outcome = command("dashboard")
    assert outcome.code == 0
    assert outcome.out.startswith("no W&B service (nobody there): nothing was created")
    assert (tmp_path / "dashboards" / "run.json").is_file()


def test_a_network_that_fails_after_the_login(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*_: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(wandb, "login", lambda **_: True)
    api = SimpleNamespace(default_entity="me", create_project=unreachable)
    monkeypatch.setattr(wandb, "Api", lambda **_: api)
    outcome = command("dashboard")
    assert outcome.code == 0
    assert outcome.out.startswith("no W&B service (nobody there): nothing was created")
    assert (tmp_path / "dashboards" / "sweep.json").is_file()


def test_with_an_account_they_are_created_there(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[publishing.Subject] = []

    def create(given: publishing.Subject) -> list[str]:
        made.append(given)
        return ["https://there"]

    monkeypatch.setattr(publishing, "create", create)
    assert command("dashboard", "--project", "mine").out == "https://there\n"
    assert (made[0].entity, made[0].project) == ("", "mine")
    assert list(tmp_path.iterdir()) == []
    # Files only, where they are asked for.
    assert "--out was given" in command("dashboard", "--out", "here").out
    assert len(made) == 1


def test_a_run_brings_its_id_project_and_tasks(command: Command, tmp_path: Path) -> None:
    wandb_on = ("logger=wandb", "logger.wandb.mode=offline", "logger.wandb.project=other", "B=8")
    train_here(tmp_path / "run", *wandb_on)
    assert command("dashboard", "--run", "run", "--out", "out").code == 0
    (file,) = tmp_path.glob("run/wandb/offline-run-*/run-*.wandb")
    text = (tmp_path / "out" / "run.json").read_text("utf-8")
    assert file.stem.removeprefix("run-") in text
    assert json.loads(text)["project"] == "other"
    assert "answers/chart/sst" in text
    assert not re.search(r"\bqqp\b", text)  # nor within a name that W&B drew


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--run", "nowhere"), "found no config.yaml in nowhere"),
        (("--out", "taken/out"), "taken/out: expected a place that can be used"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    (tmp_path / "taken").write_text("a file", "utf-8")
    outcome = command("dashboard", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert_tells(outcome.err.rstrip("\n"), told)


def test_a_run_without_w_and_b_is_refused(
    command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train_here(tmp_path / "run", "B=8")
    capfd.readouterr()
    outcome = command("dashboard", "--run", "run")
    assert outcome.code == 2
    assert_tells(outcome.err.rstrip("\n"), "a run with logger=wandb", "no W&B run in run")


def test_the_extra_is_asked_for(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtl_bert.dashboard.find_spec", lambda _: None)
    outcome = command("dashboard")
    assert outcome.code == 2
    assert_tells(outcome.err.rstrip("\n"), "pip install 'mtl-bert[dashboard]'")


def test_the_sweep_s_command_lines_are_runs() -> None:
    """As W&B's agent makes them, with the last value of each parameter."""
    sweep = yaml.safe_load(SWEEP.read_text("utf-8"))
    assert sweep["metric"]["name"] in promised("W&B: summary")
    sample = {name: {"value": given["values"][-1]} for name, given in sweep["parameters"].items()}
    filled = create_sweep_command_args({"args": sample})
    filled |= {"program": [sweep["program"]], "env": ["/usr/bin/env"], "interpreter": ["python"]}
    line: list[str] = []
    for part in create_sweep_command(sweep["command"]):
        macro = part.removeprefix("${").removesuffix("}")
        line += filled[macro] if part == f"${{{macro}}}" else [part]
    assert line[:4] == ["/usr/bin/env", "python", "-m", "mtl_bert.train"]
    assert importlib.util.find_spec(line[3]) is not None
    settings = settings_of(*line[4:])
    assert settings.logger["wandb"]["_target_"].endswith("WandbRuns")
    values = {name: given["value"] for name, given in sample.items()}
    chosen = settings.complete()
    assert {name: chosen[name] for name in values} == values
    assert len(values) == 3
