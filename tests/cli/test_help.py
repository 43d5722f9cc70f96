"""``--help`` and the reference name every setting and every choice that there is."""

import re

import pytest

from mtl_bert.config import reference
from mtl_bert.config.compose import CONF
from mtl_bert.config.settings import described
from tests.cli.driving import Command

CHOICES = [(g, path.stem) for g in reference.GROUPS for path in (CONF / g).glob("*.yaml")]


@pytest.fixture(scope="module")
def shown() -> str:
    return reference.help_text()


def test_train_says_it(command: Command, shown: str) -> None:
    outcome = command("train", "--help")
    assert outcome.code == 0
    assert shown in outcome.out
    assert "Examples" in outcome.out.partition(shown)[2]


def test_every_choice_has_a_line_of_its_own(shown: str) -> None:
    sections = shown.partition("Settings and their defaults")[0].split("\n\n")
    named = {
        (section.partition("=")[0], name)
        for section in sections
        for name in re.findall(r"^  (\w+) +\S", section, re.MULTILINE)
    }
    assert named == {*CHOICES}


def test_every_setting_has_a_line_with_its_default(shown: str) -> None:
    keys = re.findall(r"^  ([\w.]+)=\S", shown.partition("Settings and their")[2], re.MULTILINE)
    assert keys == [setting.key for setting in described() if not setting.group]
    assert "  trainer.save_minutes=15 " in shown
    assert "  lambda=null " in shown


def test_no_line_is_wider_than_it_may_be(shown: str) -> None:
    assert max(map(len, shown.splitlines())) <= reference.WIDTH
