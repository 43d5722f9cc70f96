"""What a person sees: programs on a pseudo-terminal, and the screen that their output makes."""

import fcntl
import logging
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.forking import ended

ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


@dataclass
class Screen:
    """As much of a terminal as progress bars need; it scrolls for ever.

    Attributes:
        width: columns.
        lines: as they stand, without trailing spaces.
    """

    width: int
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0

    def write(self, text: str) -> None:
        """Take what a program writes."""
        place = 0
        while place < len(text):
            escape = ESCAPE.match(text, place)
            if escape:
                self._obey(escape[2], escape[1])
                place = escape.end()
            else:
                self._put(text[place])
                place += 1

    def _obey(self, command: str, argument: str) -> None:
        if command == "A":
            self.row = max(0, self.row - int(argument or 1))
        elif command == "K":
            assert argument == "2", f"erase {argument!r}"
            self.lines[self.row] = ""
        else:
            assert command in "mhl", f"unknown escape {command!r}"  # colours, the cursor

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        else:
            if self.column == self.width:
                self.column = 0
                self._down()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def text(self) -> str:
        """What stands on the screen."""
        return "\n".join(line.rstrip() for line in self.lines)


def on_a_terminal(work: Callable[[], object], width: int = 80) -> tuple[int, str]:
    """Do some work in a copy of this process whose streams are a terminal.

    Returns:
        Its exit code and all that it wrote.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    process, terminal = pty.fork()
    if process == 0:
        logging.getLogger().handlers.clear()  # those of the tests
        os.environ["TERM"] = "xterm-256color"
        for name in ("COLUMNS", "LINES", "NO_COLOR", "TTY_COMPATIBLE"):
            os.environ.pop(name, None)
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        sys.stdout = open(1, "w", encoding="utf-8", buffering=1)  # noqa: SIM115  until the end
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
        code = ended(work)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    parts = []
    try:
        while part := os.read(terminal, 2**16):
            parts.append(part)
    except OSError:  # Linux's way to say that the other end is closed
        pass
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code, b"".join(parts).decode("utf-8")
