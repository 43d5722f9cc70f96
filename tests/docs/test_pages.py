"""Every block of the README and the documentation is carried out, or checked word by word.

Python runs from top to bottom of its page. Files that a page has readers write are written. Shell
commands that are marked run in this process, with small data in their training, and print what the
page says, whatever the numbers; of the others every option, setting, target and file is checked.
"""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

import mtl_bert
from tests.cli.driving import Command
from tests.docs import shell
from tests.docs.pages import LANGUAGES, PAGES, ROOT, Block, blocks, without_blocks

IDS = [str(path.relative_to(ROOT)) for path in PAGES]
TEXTS = [path.read_text("utf-8") for path in PAGES]
WITH_BLOCKS = [
    pytest.param(blocks(text), id=name)
    for name, text in zip(IDS, TEXTS, strict=True)
    if blocks(text)
]


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_a_page_works_from_top_to_bottom(
    page: list[Block], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {"__name__": "documentation"}
    modules = {Path(block.title).stem for block in page if (block.title or "").endswith(".py")}
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])  # as a script has it
    for module in modules:
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    printed = ""
    small: list[str] = []
    whole_train = mtl_bert.train
    monkeypatch.setattr(
        mtl_bert, "train", lambda *words, **how: whole_train(*shell.replaced(words, small), **how)
    )
    for block in page:
        where = f"line {block.line}"
        if block.title is not None:
            path = tmp_path / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, "utf-8")
        elif block.language in ("python", "test", "diff"):
            for code in _versions(block):
                with redirect_stdout(io.StringIO()) as out:
                    exec(compile("\n" * block.line + code, where, "exec"), names)
            printed = out.getvalue()
            small = names.get("SMALL", small)
        elif block.language == "bash" and block.run is not None:
            printed = "".join(_run(block, command))
        elif block.language == "bash":
            for words in shell.commands(block.code):
                try:
                    shell.check(words)
                except (Exception, SystemExit) as error:
                    pytest.fail(f"{where}: {' '.join(words)}: {error}")
            printed = ""
        elif block.language == "text":
            lines = _lines(printed)
            for line in _lines(block.code) if printed else ():
                assert any(line in there for there in lines), f"{where}: {line}: not in {lines}"
        elif block.language == "yaml":
            yaml.safe_load(block.code)
        else:
            assert block.language in LANGUAGES, f"{where}: expected {sorted(LANGUAGES)}"


@pytest.mark.parametrize("text", [pytest.param(t, id=n) for n, t in zip(IDS, TEXTS, strict=True)])
def test_no_command_hides_from_the_test_above(text: str) -> None:
    indented = re.findall(r"^ {4}(?:mtl-bert|make|pip|python|\$) .*$", without_blocks(text), re.M)
    assert indented == [], "put commands between ```bash and ```"
    assert text.count("\n```") % 2 == 0


@pytest.mark.parametrize(
    ("path", "text"), [pytest.param(p, t, id=n) for n, p, t in zip(IDS, PAGES, TEXTS, strict=True)]
)
def test_links_lead_somewhere(path: Path, text: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_blocks(text)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        found = (path.parent / file) if file else path
        assert found.exists() or "docs/reference" in str(found.resolve()), link
        if anchor and found.suffix == ".md" and found.exists():
            assert anchor in _anchors(found.read_text("utf-8")), link


def test_the_code_names_pages_that_are_there() -> None:
    files = [*(ROOT / "mtl_bert").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]
    for file in [*files, *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "examples").glob("*.py")]:
        for named in re.findall(r"docs/[\w/.-]+\.(?:md|json)", file.read_text("utf-8")):
            assert (ROOT / named).is_file(), f"{file.relative_to(ROOT)}: {named}"


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def _versions(block: Block) -> Iterator[str]:
    """The program of a block; of a diff the one before and the one after."""
    if block.language != "diff":
        yield block.code
        return
    lines = block.code.splitlines()
    for sign in "-+":
        yield "\n".join(line[1:] for line in lines if line[:1] in (" ", sign))


def _run(block: Block, command: Command) -> Iterator[str]:
    """Carry out our own commands of a block."""
    for words in shell.commands(block.code):
        if words[0] == "mtl-bert":
            jobs = [words[2:]]
            if words[1] == "train":
                jobs = _jobs([*shell.replaced(words[2:], [*shell.HERE, *(block.run or ())])])
            for job in jobs:
                done = command(words[1], *job)
                assert done.code in (0, None), f"line {block.line}: {done.err}"
                yield done.out + done.err
        elif words[0] == "cd":
            os.chdir(words[1])
        else:
            shell.check(words)


def _jobs(words: list[str]) -> list[list[str]]:
    """The runs of a sweep, each in its folder; in this process, where the sweep would start others.

    (How sweeps carry out their jobs is what tests/jobs is about.)
    """
    if "-m" not in words:
        return [words]
    values = [shell.values(word) for word in words if word != "-m"]
    jobs = map(list, product(*values))
    return [[*job, f"hydra.run.dir=runs/sweep/{number}"] for number, job in enumerate(jobs)]


def _lines(text: str) -> set[str]:
    """What a text says, whatever its numbers, dates and widths."""
    shown = re.sub(r"[-−]?\d[\d.,:]*", "0", text)
    plain = re.sub(r"[\s─━┃│┏┳┓┡╇┩├┼┤└┴┘]+", " ", re.sub(r"\n", "\0", shown))
    return {line.strip() for line in plain.split("\0") if line.strip(" .")}


def _anchors(text: str) -> set[str]:
    """The names of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", h)).strip().lower() for h in headings]
    return {heading.replace(" ", "-") for heading in plain}
