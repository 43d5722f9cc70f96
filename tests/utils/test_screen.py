"""What others have named is text on the terminal, and nothing else."""

import io
import logging
import sys

import pytest
from rich.table import Table
from rich.text import Text

from mtl_bert.utils.errors import printable, say
from mtl_bert.utils.logging import Printable
from mtl_bert.utils.screen import Screen

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b1m\u202e\r\b\udcff[red]:smile:[/red]"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x9b1m\u202e\r\x08\udcff[red]:smile:[/red]"


def test_every_character_is_shown_and_none_is_obeyed() -> None:
    for code in (*range(0x3100), *range(0xD700, 0xE100), 0xFEFF, 0xE0001, sys.maxunicode):
        character = chr(code)
        shown = printable(character)
        assert shown == character if character in "\n\t" else shown.isprintable()
        if character.isprintable():
            assert shown == character
    assert printable(HOSTILE) == SHOWN


def test_messages_are_shown_so(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    say(ValueError(HOSTILE), sys.stderr)
    record = logging.LogRecord("x", logging.INFO, "", 0, "found %s", (HOSTILE,), None)
    assert Printable("%(message)s").format(record) == f"found {SHOWN}"
    assert capsys.readouterr() == (f"{SHOWN}\n", f"{SHOWN}\n")


def test_tables_are_shown_so_and_keep_their_own_colours() -> None:
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text("ours", "red"))
    screen = Screen(file=io.StringIO(), force_terminal=True, color_system="standard", width=200)
    screen.print(table)
    screen.print(HOSTILE, soft_wrap=True)
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert text.count(SHOWN) == 5
    assert "\x1b[31mours" in text
    assert "\x1b[2J" not in text
    assert "\x9b" not in text
