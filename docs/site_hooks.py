"""What the site has beside the pages of ``docs``: reference pages made from the program, and the
repository's own files that pages link to.

mkdocs calls the functions whose names begin with ``on_``. The others need no mkdocs; the tests call
them as well (tests/docs/test_reference_pages.py).
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer
import yaml

from mtl_bert.__main__ import app
from mtl_bert.config.compose import CONF

DOCS = Path(__file__).parent
ROOT = DOCS.parent
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)\s#]+)(?=[)#])")
ROLE = re.compile(r":(?:class|func|meth|mod|data):<code>~?(?:[\w.]*\.)?(\w+)</code>")
TEXT = {".py", ".sh", ".yaml", ".cff", ".ipynb"}
"""Files that the site shows as text; others are copied."""


def commands() -> str:
    """``reference/commands.md``: every command's help, as the terminal shows it."""
    root: Any = typer.main.get_command(app)
    parts = [
        "# Commands\n\nEvery command explains itself with `--help`. The shell completes them after "
        "`mtl-bert --install-completion`; `python -m mtl_bert` is the same as `mtl-bert`.\n\n"
        "An error is one line (what was expected, what was found, where, what to write instead) "
        "and exit code 2. A run that was stopped ends with 75 and goes on when started again.\n"
    ]
    for words, command, context in _commands(root, typer.Context(root, info_name="mtl-bert")):
        about, shown = "", command.get_help(context)
        file = CONF / "hydra" / "help" / f"{words[0]}.yaml"
        if file.is_file():  # Hydra's commands
            said = yaml.safe_load(file.read_text("utf-8"))
            about = "Its `KEY=VALUE` are the [settings](settings.md).\n\n"
            shown = f"{said['header'].rstrip()}\n\n{said['footer']}"
        title = " ".join(words)
        parts.append(f"## mtl-bert {title}\n\n{about}```text\n{shown.rstrip()}\n```\n")
    return "\n".join(parts)


def _commands(command: Any, context: Any, words: tuple[str, ...] = ()) -> Iterator[Any]:
    for name, inner in getattr(command, "commands", {}).items():
        below = typer.Context(inner, info_name=name, parent=context)
        yield [*words, name], inner, below
        yield from _commands(inner, below, (*words, name))


def results() -> str:
    """``reference/results.md``: the fields of results.json, from its schema."""
    whole = json.loads((DOCS / "results.schema.json").read_text("utf-8"))
    lines = [
        "# results.json", "",
        "What a run reached, and how. The [JSON schema](../results.schema.json) is made from the "
        "same declarations; later versions add fields, and none changes its meaning.",
    ]  # fmt: skip
    for name, node in ((whole.get("title", "Results"), whole), *whole.get("$defs", {}).items()):
        if "properties" not in node:
            continue
        about = " ".join(str(node.get("description", "")).split())
        lines += ["", f"## {name}", "", about, "", "| field | type | what it is |", "|---|---|---|"]
        for field, value in node["properties"].items():
            words = " ".join(str(value.get("description", "")).split()).replace("|", "\\|")
            lines.append(f"| `{field}` | {_type(value)} | {words} |")
    return "\n".join(lines) + "\n"


def _type(node: dict[str, Any]) -> str:
    """A field's type in a word, with a link to the table of an object's fields."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in node:
        return " or ".join(_type(each) for each in node["anyOf"])
    inner = node.get("items") or node.get("additionalProperties")
    kind = str(node.get("type", "any"))
    return f"{kind} of {_type(inner)}" if isinstance(inner, dict) and inner else kind


GENERATED = {"reference/commands.md": commands, "reference/results.md": results}


def linked(text: str, place: Path) -> set[Path]:
    """The repository's files outside ``docs`` that a page links to."""
    found = {(place.parent / link).resolve() for link in LINK.findall(text)}
    return {p for p in found if p.exists() and p.is_relative_to(ROOT) and DOCS not in p.parents}


@cache
def outside() -> dict[Path, str]:
    """Every such file -> where the site has it; pages among them link to more."""
    found: dict[Path, str] = {}
    waiting = {*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"}
    while waiting:
        page = waiting.pop()
        text = page.read_text("utf-8") if page.suffix == ".md" else ""
        if DOCS not in page.parents:
            if page.is_dir():
                continue
            name = page.relative_to(ROOT).as_posix()
            found[page] = f"{name}.md" if page.suffix in TEXT else name
        waiting |= linked(text, page) - {*found}
    return found


def shown(path: Path) -> str:
    """A file of code as a page; of a notebook its cells."""
    text = path.read_text("utf-8").rstrip()
    if path.suffix != ".ipynb":
        language = {".py": "python", ".sh": "bash"}.get(path.suffix, "yaml")
        return f"# {path.name}\n\n````{language}\n{text}\n````\n"
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    parts = [f"```python\n{words}\n```" if kind == "code" else words for kind, words in cells]
    return "\n\n".join(parts) + "\n"


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages, and what pages link to outside ``docs``."""
    from mkdocs.structure.files import File

    for name, make in GENERATED.items():
        files.append(File.generated(config, name, content=make()))
    for path, name in outside().items():
        if path.suffix in TEXT:
            files.append(File.generated(config, name, content=shown(path)))
        else:
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links that leave ``docs`` lead to the site's copy; those to folders become plain text."""
    here, names = page.file.src_uri, outside()
    place = {name: path for path, name in names.items()}.get(here, DOCS / here)
    up = "../" * here.count("/")

    def moved(match: re.Match[str]) -> str:
        target = (place.parent / match[1]).resolve()
        if target in names:
            return up + names[target]
        if target.is_relative_to(DOCS):
            return up + target.relative_to(DOCS).as_posix()
        return match[1]

    markdown = re.sub(
        r"\[([^\]]+)\]\(([^)\s#]+)\)", lambda m: m[1] if _folder(place, m[2]) else m[0], markdown
    )
    return LINK.sub(
        moved, re.sub(r"^<!-- (?:test\n.*?\n|run.*? )-->\n", "", markdown, flags=re.M | re.S)
    )


def _folder(place: Path, link: str) -> bool:
    return "://" not in link and (place.parent / link).resolve().is_dir()


def on_page_content(html: str, **_: Any) -> str:
    """Show what docstrings mark for Sphinx as code."""
    return ROLE.sub(r"<code>\1</code>", html)
