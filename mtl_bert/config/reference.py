"""What ``--help`` and ``docs/reference/settings.md`` say of settings and of each group's choices.

Both are made from the declarations in :mod:`mtl_bert.config.settings`, from the first comment of
each file of ``conf``, and from the docstrings of what those files name. To write the page again:
``python -m mtl_bert.config.reference > docs/reference/settings.md``.
"""

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pkgutil import resolve_name
from typing import Any

from omegaconf import OmegaConf

from mtl_bert.config.compose import CONF, NO_SETTINGS, NODES, PLACES
from mtl_bert.config.nodes import is_ours, values_of
from mtl_bert.config.settings import described, settings_of

GROUPS = ("sampler", "surgery", "data", "model", "task", "optimizer", "scheduler", "trainer",
          "logger", "callbacks")  # fmt: skip
WITH_SETTINGS = ("sampler", "surgery", "optimizer", "scheduler", "logger", "callbacks")
"""Groups whose choices bring settings of their own, described beside their types."""

WIDTH = 100
COLUMN = 36

_HEAD = """\
# Settings

Every setting of a run, as `mtl-bert train` and `mtl-bert plan` take it:
`KEY=VALUE`, in any order. This page is generated from the declarations in
`mtl_bert/config/settings.py`, from `conf`, and from the docstrings of what it names:
`python -m mtl_bert.config.reference > docs/reference/settings.md`.

A choice may bring its own defaults: `sampler=arrp` brings `lambda=0.5 B=24000`, `data=demo` brings
`epochs` and `batch_size`, and `model=tiny` brings `lr`. What you write on the command line comes
before all of them. `--cfg job` shows the result without training.
"""


def help_text() -> str:
    """The settings and choices for a terminal, at most 100 columns wide."""
    settings = {setting.key: setting for setting in described()}
    lines = []
    for group in GROUPS:
        lines.append(f"{group}=  {settings[NODES.get(group, group)].sentence}")
        for name, words in choices(group).items():
            lines += _columns(name, _first_sentence(words), 16)
        lines.append("")
    lines.append("Settings and their defaults; sampler=arrp brings lambda=0.5 B=24000, and the")
    lines.append("demo brings its own batch_size and lr")
    for setting in settings.values():
        if not setting.group:
            only = f" ({setting.only_with} only)" if setting.only_with else ""
            default = f"{setting.key}={_written(setting.default)}"
            lines += _columns(default, setting.sentence + only, COLUMN)
    for key, words in NO_SETTINGS.items():
        lines += _columns(f"{key}=", words, COLUMN)
    return "\n".join(lines)


def page() -> str:
    """``docs/reference/settings.md``: every setting, every choice, every choice's own settings."""
    parts, sentences = [_HEAD], {setting.key: setting.sentence for setting in described()}
    for of in ("", "data", "model", "trainer"):
        rows = [
            (
                f"`{s.key}`",
                s.expected,
                f"`{_written(s.default)}`",
                s.sentence + (f" Only with `{s.only_with}`." if s.only_with else ""),
                " or ".join(f"`{one}`" for one in s.example.split(" or ")),
            )
            for s in settings_of(of).values()
        ]
        headings = ("setting", "values", "default", "what it does", "example")
        parts.append(f"## {f'{of}.*' if of else 'A run'}\n\n{_table(headings, rows)}")
    command = _table(
        ("key", "what it does"), [(f"`{key}`", words) for key, words in NO_SETTINGS.items()]
    )
    parts.append(f"## The command\n\n{command}")
    for group in GROUPS:
        words_of = [(f"`{group}={name}`", words) for name, words in choices(group).items()]
        title = f"## {group}=\n\n{sentences[NODES.get(group, group)]}\n\n"
        parts.append(title + _table((f"{group}=", "what it is"), words_of))
        if group in WITH_SETTINGS and (own := [*_own_settings(group)]):
            parts.append(_table(("setting", "with", "default", "what it does"), own))
    return "\n".join(parts).rstrip() + "\n"


def choices(group: str) -> dict[str, str]:
    """A group's choices -> what the first comment of its file says; a user's own come first."""
    found = {}
    files = {path.stem: path for one in reversed(PLACES) for path in (one / group).glob("*.yaml")}
    for name, path in sorted(files.items()):
        comment = re.match(r"(?:# @package.*\n)?((?:#.*\n)+)", path.read_text("utf-8"))
        found[name] = " ".join(re.findall(r"^# (.*)$", comment[1] if comment else "", re.M))
    return found


def attributes_of(described_in: Any) -> dict[str, str]:
    """What the docstrings of a function, or of a class and its bases, say of each argument."""
    found: dict[str, str] = {}
    for one in reversed(getattr(described_in, "__mro__", [described_in])):
        text = inspect.cleandoc(one.__doc__ or "")
        section = re.search(r"^(?:Attributes|Args):\n((?: +.*\n?|\n)+)", text, re.M)
        entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.M)
        found |= {name: " ".join(words.replace("``", "`").split()) for name, words in entries}
    return found


def _own_settings(group: str) -> Iterator[tuple[str, ...]]:
    """Settings that a group's choices bring: key, the choices, default, what it does."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for choice in choices(group):
        file: Any = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{choice}.yaml"))
        place = group if group != "logger" else f"logger.{choice}"
        for key, value, target in values_of(file.get(group, file), place):
            name = key.rpartition(".")[2]
            if name.startswith("_") or "${" in str(value) or key == "sampler.name":
                continue
            described_in = attributes_of(resolve_name(target)) if is_ours(target) else {}
            words = described_in.get(name, f"See `{target}`.")
            found.setdefault((key, words), {}).setdefault(_written(value), []).append(choice)
    for (key, words), defaults in found.items():
        names = [name for some in defaults.values() for name in some]
        told = (
            value if 2 * len(some) > len(names) else f"{value} ({', '.join(some)})"
            for value, some in defaults.items()
        )
        brings = "all" if len(names) == len(choices(group)) else ", ".join(names)
        yield f"`{key}`", brings, "; ".join(told), words


def _first_sentence(words: str) -> str:
    """Up to the first full stop before a space and a capital, and whether an extra is needed."""
    first = re.split(r"(?<=[^.][.?]) (?=[A-Z])", words)[0]
    return first + (" Needs mtl-bert[torchjd]." if "mtl-bert[torchjd]" in words else "")


def _written(value: Any) -> str:
    """A value as people write it on the command line."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _columns(left: str, right: str, width: int) -> list[str]:
    """Two columns, the right one wrapped; a left one that is too long gets a line of its own."""
    indent, beside = " " * (width + 2), len(left) <= width - 2
    first = f"  {left:<{width}}" if beside else indent
    lines = textwrap.wrap(
        right, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
    )
    return lines if beside else [f"  {left}", *lines]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
