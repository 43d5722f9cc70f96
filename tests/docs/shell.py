"""What the documentation types at a shell: split into commands, and each of them looked at."""

import ast
import importlib.util
import io
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import click
import hydra
import typer
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from mtl_bert.__main__ import app, main
from mtl_bert.config.command_line import readable
from mtl_bert.config.compose import CONF, read_job_settings
from tests.docs.pages import ROOT

FOREIGN = {"cd", "source", "tar", "mkdir", "git", "hf", "ls", "cat", "tensorboard", "python3",
           "export", "scancel", "apt-get"}  # fmt: skip
"""Programs of others, whose command lines are theirs to refuse."""

PLAN_ONLY = ("plan.sizes=", "plan.out=")
RUNS = ("resume=", "trust=")  # name runs that only a reader has
ELSEWHERE = ("hydra/sweeper=", "hydra.sweeper.")  # Optuna's: it pins old versions, so is not here

HERE = ("trainer.accelerator=cpu", "trainer.threads=1", "trainer.enable_progress_bar=false")
"""How a test trains, whatever the machine."""


def replaced(words: Iterable[str], others: Sequence[str]) -> list[str]:
    """A command's words, with other values for some of them."""
    keys = {other.partition("=")[0] for other in others}
    return [*(word for word in words if word.partition("=")[0] not in keys), *others]


def commands(code: str) -> Iterator[list[str]]:
    """The commands of a block, as words; comments are left out, pipes and && come between two."""
    joined = re.sub(r"\\\n\s*", "", code)
    for line in joined.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("|&;<>"):
                words.append(word)
            elif words:
                yield words
                words = []


def check(words: Sequence[str]) -> None:
    """Raise if a command cannot be meant: an unknown program, option, setting, target or file."""
    program, *rest = words
    if program in ("torchrun", "srun"):
        program, *rest = words[words.index("-m") - 1 :]
        program = "python"
    if program in FOREIGN or re.fullmatch(r"[A-Z_]+=.*", program):
        return
    checks: dict[str, Callable[[list[str]], None]] = {
        "mtl-bert": _ours, "make": _make, "pip": _pip, "python": _python, "wandb": _wandb,
    }  # fmt: skip
    assert program in checks, f"{program}: known programs are {[*checks, *sorted(FOREIGN)]}"
    checks[program](rest)


def _ours(words: list[str]) -> None:
    if words and words[0] in ("train", "plan"):
        return _settings(tuple(words[1:]))
    known: Any = typer.main.get_command(app)
    if not words or words[0].startswith("-"):
        return None
    context = click.Context(known)
    while isinstance(known, click.Group | typer.core.TyperGroup) and words:
        name, *rest = words
        inner = known.get_command(context, name)
        if inner is None:
            break
        known, words = inner, rest
    known.make_context("mtl-bert", list(words))  # raises what the command would refuse
    return None


@cache
def _unused(job: tuple[str, ...]) -> set[str]:
    """Compose and check the settings of a run; what its sampler does not use."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return set(read_job_settings(hydra.compose("train", readable(job)))[1])


def _settings(words: tuple[str, ...]) -> None:
    """Compose and check settings; of a sweep each value in some job."""
    flags = [w for w in words if w.startswith("-")]
    if "--help" in flags:
        return
    if "--config-dir" in flags:
        place = words[words.index("--config-dir") + 1]
        if Path(place).is_dir():  # the page has had readers write it
            with redirect_stdout(io.StringIO()):
                main(["train", *words, "--cfg", "job"])
            return
        words = tuple(w for w in words if w != place and not w.startswith("task="))
    left_out = (*PLAN_ONLY, *RUNS, *ELSEWHERE, "-")
    given = [w for w in words if not w.startswith(left_out)]
    several = "-m" in flags
    choices = [values(word) if several else [word] for word in given]
    most = max(map(len, choices), default=1)
    jobs = [[found[min(n, len(found) - 1)] for found in choices] for n in range(most)]
    unused = [_unused(tuple(job)) for job in jobs]
    assert several or not unused[0], f"{unused[0]} has no use there"
    assert not set.intersection(*unused), f"no job uses {unused[0]}"


def values(word: str) -> list[str]:
    """The values of a sweep's word, KEY=VALUE each; of a glob some file's."""
    override = OverridesParser.create().parse_override(word)
    key, value = override.get_key_element(), override.value()
    if hasattr(value, "include"):  # glob(...)
        group = key.lstrip("+")
        places = [path for one in value.include for path in (ROOT / "conf" / group).glob(one)]
        assert places, f"{word} matches nothing"
        return [f"{key}={places[0].stem}"]
    if not override.is_sweep_override():
        return [word]
    if "(" in word:  # choice(...), range(...): an optimizing sweeper's
        return [f"{key}={ast.literal_eval(word.partition('(')[2].partition(',')[0])}"]
    return [f"{key}={each}" for each in override.sweep_string_iterator()]


def _make(words: list[str]) -> None:
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _pip(words: list[str]) -> None:
    assert words[0] == "install"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
        assert set(extra.split(",")) <= set(extras["optional-dependencies"]), extra


def _python(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None, words[1]
        if words[1] == "mtl_bert.train":
            _settings(tuple(words[2:]))
    elif words[0] != "-c":
        assert (ROOT / words[0]).is_file(), words[0]


def _wandb(words: list[str]) -> None:
    assert words[0] in ("sweep", "sync", "login", "agent"), words
    assert words[0] != "sweep" or (ROOT / words[1]).is_file(), words
