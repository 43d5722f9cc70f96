"""Ordinary command lines: Typer's, with errors in the one line that all of this program has."""

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mtl_bert.utils.errors import FULL_ERROR, REFUSED, UserError, say, told

EXAMPLE = "runs/2026-01-31/12-00-00-arrp-seed1"

# What commands about a finished run have in common.
RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a finished run")]
Checkpoint = Annotated[
    str,
    typer.Option(
        metavar="best|last|TASK",
        help="Which weights; a task's own best are there with trainer.best_per_task=true.",
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the data lies now, if it moved.")
]
ModelPath = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the encoder lies now, if it moved.")
]
Trust = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="RUN again, where its configuration may call others' code."),
]


# Of a command whose command line somebody else reads.
UNREAD = {
    "ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False,
    "help_option_names": list[str](),
}  # fmt: skip


def application(**settings: Any) -> typer.Typer:
    """A Typer application whose help is plain text; ``settings`` are Typer's own."""
    plain: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
    return typer.Typer(**(plain | {"add_completion": False} | settings))


def run(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a command, or one of several, by the name that people call it by."""
    how: dict[str, Any] = {"standalone_mode": False, "help_option_names": ["--help", "-h"]}
    with command_line(arguments) as words:
        try:
            code = typer.main.get_command(app).main(words, name, **how)
        except typer.TyperException as error:
            raise UserError(_explained(error, name)) from error
    if code:
        sys.exit(code)


@contextmanager
def command_line(arguments: Sequence[str] | None) -> Iterator[list[str]]:
    """Give the words of a command line, and end the program as every command ends.

    An error that a user can mend is its message and the exit code 2. Output is what every terminal
    shows, and ends quietly where nobody reads on (``| head``). None takes this process's words.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            for word in words:
                if word.encode("utf-8", "replace").decode() != word:
                    raise UserError(
                        f"command line: expected UTF-8, found {os.fsencode(word)!r}; write another "
                        "name"
                    )
            yield words
        finally:
            try:
                sys.stdout.flush()
            except OSError:  # Python flushes once more when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise
    except BrokenPipeError:
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:  # before anything listens to it
        sys.exit(128 + signal.SIGINT)
    except (UserError, OSError) as error:
        if os.environ.get(FULL_ERROR) == "1":
            raise
        say(told(error), sys.stderr)
        sys.exit(REFUSED)


class Command(TyperCommand):
    """A command with options, also where the library speaks of settings, ``data.dir=DIR``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; an empty name would be the place where one works."""
        try:
            found, _, _ = self.make_parser(ctx).parse_args(list(args))
        except typer.TyperException as error:
            vars(error)["ctx"] = ctx  # of some it is not known where they come from
            raise
        parameters: list[Any] = self.params
        for parameter in parameters:
            value = found.get(parameter.name)
            values = value if isinstance(value, list | tuple) else [value]
            if "" in values and parameter.metavar != "TEXT":
                raise UserError(
                    f"{_shown(parameter)}: expected {parameter.help.rstrip('.')}, found an empty "
                    f"name; see {ctx.command_path} --help"
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Carry the command out; its errors name options where the library names settings."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            message = str(error)
            for parameter in self.params:
                name, key = _shown(parameter), (parameter.name or "").replace("_", r"\.")
                message = re.sub(rf"^{key}: ", f"{name}: ", message)
                if name.startswith("--"):
                    message = re.sub(rf"(?<![\w.-]){key}=", f"{name} ", message)
            raise UserError(message) from error


def _explained(error: Any, name: str) -> str:
    """What Typer says about a command line: what was expected, what was found, what to write."""
    command, where = error.ctx and error.ctx.command, error.ctx.command_path if error.ctx else name
    said, quoted = error.message, re.findall(r"'([^']*)'", error.message)
    option, parameter = getattr(error, "option_name", None), getattr(error, "param", None)
    advice = f"see {where} --help"

    def told(at: str, expected: str, found: str, known: Sequence[str] = ()) -> str:
        close = get_close_matches(found, known, n=1)
        meant = f"did you mean {close[0]}?" if close else advice
        return f"{at}: expected {expected}, found {found}; {meant}"

    if hasattr(error, "possibilities"):
        return told(str(option), "an option", str(option), error.possibilities or ())
    if option is not None:
        return told(option, *("no value", "one") if "not take" in said else ("a value", "none"))
    if parameter is not None and not said:
        needed = [p for p in command.params if p.required]
        advice = f"write {where} {' '.join(map(_written, needed))}"
        wanted = parameter.help.rstrip(".")
        if parameter.param_type_name == "option":
            wanted = wanted[0].lower() + wanted[1:]
        return told(_shown(parameter), wanted, "nothing")
    if parameter is not None:
        found, *choices = quoted or [said]
        return told(_shown(parameter), " or ".join(choices) or parameter.help, repr(found))
    if hasattr(command, "commands"):
        known = list(command.commands)
        expected = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
        return told(where, expected, (quoted or ["nothing"])[0], known)
    return told(where, "no more arguments", said[said.rfind("(") + 1 : -1])


def _written(parameter: Any) -> str:
    """An argument, or an option with its value, as one writes it."""
    name = _shown(parameter)
    return f"{name} {parameter.metavar}" if name.startswith("--") else name


def _shown(parameter: Any) -> str:
    """An option's name, or an argument's as the usage line has it."""
    return str(parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar)
