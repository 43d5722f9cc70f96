"""Ordinary command lines: Typer's, with errors in the one line that all of this program has."""

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from mtl_bert.utils.errors import UserError, told_in_a_line

EXAMPLE = "runs/2026-01-31/12-00-00-arrp-seed1"

# What commands about a finished run have in common.
RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a finished run")]
Checkpoint = Annotated[Literal["best", "last"], typer.Option(help="Which weights.")]
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

KEY_VALUE = re.compile(r"([a-z][\w.]*)=(.*)", re.DOTALL)


def application(**settings: Any) -> typer.Typer:
    """A Typer application whose help is plain text; ``settings`` are Typer's own."""
    plain: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}
    return typer.Typer(**(plain | {"add_completion": False} | settings))


def run(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a command; wrong use and a user's error are one line, and the exit code 2.

    Args:
        app: one command or several.
        name: how people call it.
        arguments: its command line; None takes this process's.
    """
    how: dict[str, Any] = {"standalone_mode": False, "help_option_names": ["--help", "-h"]}
    code = 0
    with told_in_a_line(), reading_to_the_end():
        given = words_of(arguments)
        try:
            code = typer.main.get_command(app).main(given, name, **how)
        except typer.TyperException as error:
            raise UserError(_explained(error, name)) from error
    if code:
        sys.exit(code)


def words_of(arguments: Sequence[str] | None) -> list[str]:
    """The words of a command line; None takes this process's. UserError where one is no text."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"command line: expected UTF-8, found {os.fsencode(word)!r}; write another name"
            ) from None
    return words


@contextmanager
def reading_to_the_end() -> Iterator[None]:
    """Write what every terminal shows, and end quietly where nobody reads on (``| head``)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            yield
        finally:
            try:
                sys.stdout.flush()
            except OSError:  # Python flushes once more when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise
    except BrokenPipeError:
        sys.exit(128 + signal.SIGPIPE)


class Command(TyperCommand):
    """A command with options, also where the library speaks of settings, ``data.dir=DIR``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; KEY=VALUE is answered with the option that is meant."""
        try:
            found, loose, _ = self.make_parser(ctx).parse_args(list(args))
        except typer.TyperException as error:
            vars(error)["ctx"] = ctx  # of some it is not known where they come from
            raise
        parameters: list[Any] = self.params
        for parameter in parameters:
            value = found.get(parameter.name)
            several = value if isinstance(value, list | tuple) else ()  # and a flag is no place
            values = [value] if isinstance(value, str) else several
            if "" in values and parameter.metavar != "TEXT":  # a place would be where one works
                raise UserError(
                    f"{_shown(parameter)}: expected {parameter.help.rstrip('.')}, found an empty "
                    f"name; see {ctx.command_path} --help"
                )
            if parameter.param_type_name == "argument":
                loose += values
        words = [new for old in args for new in (self._options(old) if old in loose else [old])]
        if words != args and not ctx.resilient_parsing:
            raise UserError(
                f"{ctx.command_path}: expected values and --options, found KEY=VALUE, which train "
                f"and plan have; write {ctx.command_path} {shlex.join(words)}"
            )
        return super().parse_args(ctx, args)

    def _options(self, word: str) -> list[str]:
        """``run=DIR`` as DIR, ``task=[sst,sts]`` as --task sst --task sts, all else as it is."""
        said = KEY_VALUE.fullmatch(word)
        if said and said[2] and not Path(word).exists():
            for parameter in self.params:
                if parameter.name == said[1].replace(".", "_"):
                    values = said[2].strip("[]").split(",") if parameter.multiple else [said[2]]
                    option = [parameter.opts[0]] if parameter.param_type_name == "option" else []
                    return [part for value in values for part in (*option, value.strip())]
        return [word]

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


class Handed(TyperCommand):
    """A command whose command line somebody else reads."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep every word as it is."""
        ctx.args = args
        return args


def _explained(error: Any, name: str) -> str:
    """What Typer says about a command line: what was expected, what was found, what to write."""
    command = error.ctx and error.ctx.command
    where = error.ctx.command_path if error.ctx else name
    said, quoted = error.message, re.findall(r"'([^']*)'", error.message)
    option, parameter = getattr(error, "option_name", None), getattr(error, "param", None)
    if hasattr(error, "possibilities"):
        hint = _hint(str(option), error.possibilities or (), where)
        return f"{option}: expected an option, found {option}; {hint}"
    if option is not None:
        expected, found = ("no value", "one") if "not take" in said else ("a value", "none")
        return f"{option}: expected {expected}, found {found}; see {where} --help"
    if parameter is not None:
        if not said:
            words = [_shown(p) for p in command.params if p.param_type_name == "argument"]
            return (
                f"{_shown(parameter)}: expected {parameter.help}, found nothing; write {where} "
                f"{' '.join(words)}"
            )
        found, *choices = quoted or [said]
        expected = " or ".join(choices) or parameter.help
        return f"{_shown(parameter)}: expected {expected}, found {found!r}; see {where} --help"
    if hasattr(command, "commands"):
        known, found = list(command.commands), (quoted or ["nothing"])[0]
        expected = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
        return f"{where}: expected {expected}, found {found}; {_hint(found, known, where)}"
    found = said[said.rfind("(") + 1 : -1]
    return f"{where}: expected no more arguments, found {found}; see {where} --help"


def _shown(parameter: Any) -> str:
    """An option's name, or an argument's as the usage line has it."""
    return str(parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar)


def _hint(found: str, known: Sequence[str], where: str) -> str:
    close = get_close_matches(found, known, n=1)
    return f"did you mean {close[0]}?" if close else f"see {where} --help"
