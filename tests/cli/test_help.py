"""``--help`` names every choice that there is."""

import re
from pathlib import Path

import pytest

from mtl_bert.config.compose import CONF
from mtl_bert.config.settings import setting_names
from tests.cli.driving import Command

GROUPS = ("sampler", "surgery", "data", "model", "task", "optimizer", "scheduler", "logger")
ROOT = Path(__file__).parents[2]
CHOICES = [(group, path.stem) for group in GROUPS for path in (CONF / group).glob("*.yaml")]


@pytest.fixture
def shown(command: Command) -> str:
    outcome = command("train", "--help")
    assert outcome.code == 0
    return outcome.out


def test_every_choice_is_named(shown: str) -> None:
    words = set(re.findall(r"\w+", shown.partition("Examples")[0]))
    assert len(CHOICES) > 15
    assert [choice for choice in CHOICES if choice[1] not in words] == []
    assert [group for group in GROUPS if group not in words] == []


def test_every_sampler_and_every_surgery_has_a_line(shown: str) -> None:
    lines = re.findall(r"^  ([\w, ]+?) {2,}\S", shown.partition("Keys")[0], re.MULTILINE)
    named = [name for line in lines for name in line.split(", ")]
    expected = [name for group, name in CHOICES if group in ("sampler", "surgery")]
    assert sorted(named) == sorted(expected)


def test_every_surgery_is_in_the_readme() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("| `surgery=` |")[2]
    table = table.partition("\n\n")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    named = re.findall(r"`(\w+)`", " ".join(first_cells))
    assert sorted(named) == sorted(name for group, name in CHOICES if group == "surgery")


def test_every_key_of_a_run_is_named(shown: str) -> None:
    words = set(re.findall(r"\w+", shown))
    # Made from other choices, never written by hand.
    keys = {name.partition(".")[0] for name in setting_names()} - {"freeze_sets", "tasks"}
    assert sorted(keys - words) == []
