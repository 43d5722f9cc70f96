"""What ``--help`` and ``docs/reference/settings.md`` say of settings and of each group's choices.

Both are made from the declarations in :mod:`mtl_bert.config.settings`, from the first comment of
each file of ``conf``, and from the docstrings of what those files name. To write the page again:
``python -m mtl_bert.config.reference > docs/reference/settings.md``.
"""

import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mtl_bert.config.compose import CONF, NO_SETTINGS, NODES, PLACES
from mtl_bert.config.settings import Described, described

GROUPS = (
    "sampler",
    "surgery",
    "data",
    "model",
    "task",
    "optimizer",
    "scheduler",
    "trainer",
    "logger",
)
WITH_SETTINGS = ("sampler", "surgery", "optimizer", "scheduler", "logger")
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
    lines.append(
        "Settings and their defaults; sampler=arrp brings lambda=0.5 B=24000, and the demo"
    )
    lines.append("brings its own batch_size and lr")
    for setting in settings.values():
        if not setting.group:
            suffix = f" ({setting.only_with} only)" if setting.only_with else ""
            lines += _columns(
                f"{setting.key}={_default(setting)}", f"{setting.sentence}{suffix}", COLUMN
            )
    for key, words in NO_SETTINGS.items():
        lines += _columns(f"{key}=", words, COLUMN)
    return "\n".join(lines)


def page() -> str:
    """``docs/reference/settings.md``: every setting, every choice, every choice's own settings."""
    settings = {setting.key: setting for setting in described()}
    parts = [_HEAD]
    for title, prefix in (
        ("A run", ""), ("data.*", "data."), ("model.*", "model."), ("trainer.*", "trainer."),
    ):  # fmt: skip
        chosen = [
            setting for key, setting in settings.items()
            if not setting.group and key.rpartition(".")[0] == prefix.rstrip(".")
        ]  # fmt: skip
        parts.append(f"## {title}\n\n{_table(_HEADINGS, map(_row, chosen))}")
    rows = [(f"`{key}`", words) for key, words in NO_SETTINGS.items()]
    parts.append("## The command\n\n" + _table(("key", "what it does"), rows))
    for group in GROUPS:
        rows = [(f"`{group}={name}`", words) for name, words in choices(group).items()]
        title = f"## {group}=\n\n{settings[NODES.get(group, group)].sentence}\n\n"
        parts.append(title + _table((f"{group}=", "what it is"), rows))
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


_HEADINGS = ("setting", "values", "default", "what it does", "example")


def _row(setting: Described) -> tuple[str, ...]:
    suffix = f" Only with `{setting.only_with}`." if setting.only_with else ""
    example = " or ".join(f"`{one}`" for one in setting.example.split(" or "))
    return (
        f"`{setting.key}`", setting.expected, f"`{_default(setting)}`", setting.sentence + suffix,
        example,
    )  # fmt: skip


def _own_settings(group: str) -> Iterator[tuple[str, ...]]:
    """Settings that a group's choices bring: key, the choices, default, what it does."""
    found: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for name in choices(group):
        file = OmegaConf.load(CONF / group / f"{name}.yaml")
        assert isinstance(file, DictConfig)
        plain: Any = OmegaConf.to_container(file)
        prefix = group if group != "logger" else f"logger.{name}"
        for key, value, words in _described_in(plain.get(group, plain), prefix):
            names, values = found.setdefault((key, words), ([], []))
            names.append(name)
            values.append(_plain(value))
    for (key, words), (names, values) in found.items():
        usual = Counter(values).most_common(1)[0][0]
        others: dict[str, list[str]] = {}
        for name, value in zip(names, values, strict=True):
            if value != usual:
                others.setdefault(value, []).append(name)
        told = [usual, *(f"{value} ({', '.join(some)})" for value, some in others.items())]
        brings = "all" if len(names) == len(choices(group)) else ", ".join(names)
        yield f"`{key}`", brings, "; ".join(told), words


def _described_in(node: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any, str]]:
    """A node's own settings, and those of the objects below it: key, value, description."""
    target = str(node.get("_target_", ""))
    # What other libraries describe may change with them, and TorchJD need not be installed.
    ours = target.startswith("mtl_bert.") and "torchjd" not in target
    words = attributes_of(resolve_name(target)) if ours else {}
    for name, value in node.items():
        key = f"{prefix}.{name}"
        if isinstance(value, Mapping) and "_target_" in value:
            yield from _described_in(value, key)
        elif not (
            name.startswith("_") or "${" in str(value) or (prefix, name) == ("sampler", "name")
        ):
            yield key, value, words.get(name, f"See `{target}`.")


def _first_sentence(words: str) -> str:
    """Up to the first full stop before a space and a capital, and whether an extra is needed."""
    first = re.split(r"(?<=[^.][.?]) (?=[A-Z])", words)[0]
    return first + (" Needs mtl-bert[torchjd]." if "mtl-bert[torchjd]" in words else "")


def _default(setting: Described) -> str:
    return _plain(setting.field.get_default())


def _plain(value: Any) -> str:
    """A value as people write it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _columns(left: str, right: str, width: int) -> list[str]:
    """Two columns, the right one wrapped; a left one that is too long gets a line of its own."""
    lines = textwrap.wrap(right, WIDTH - width - 2, break_on_hyphens=False)
    if len(left) > width - 2:
        return [f"  {left}", *(" " * (width + 2) + line for line in lines)]
    indents = [f"  {left:<{width}}", *[" " * (width + 2)] * (len(lines) - 1)]
    return [f"{indent}{line}" for indent, line in zip(indents, lines, strict=True)]


def _table(headings: tuple[str, ...], rows: Any) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
