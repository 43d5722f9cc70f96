"""The documentation as a list of blocks: what is Python, what is typed at a shell, what it prints.

Authors mark blocks by language, and by two comments that readers do not see:

    <!-- test              Python that a page needs before a block, or asserts after it
    ...
    -->
    <!-- run KEY=VALUE -->  the shell block below is carried out, trainings with these settings
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OTHERS = ("README.md", "CONTRIBUTING.md", "experiments/README.md", "benchmarks/README.md")
PAGES = [*(ROOT / name for name in OTHERS), *sorted(DOCS.rglob("*.md"))]
LANGUAGES = {"python", "diff", "bash", "text", "yaml", "csv", "json"}

_BLOCK = re.compile(
    r"^<!-- test\n(?P<hidden>.*?)\n-->$"
    r"|^(?:<!-- run(?P<run> [^\n]*)? -->\n)?"
    r"```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        language: as the fence says, or ``test`` for what readers do not see.
        code: its lines.
        line: where it begins on the page, from 1.
        title: the file that readers are to write.
        run: settings with which its commands are carried out; None only checks them.
    """

    language: str
    code: str
    line: int
    title: str | None = None
    run: tuple[str, ...] | None = None


def blocks(text: str) -> list[Block]:
    """A page's blocks, in order."""
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["hidden"] is not None:
            found.append(Block("test", match["hidden"], line))
            continue
        marked = match[0].startswith("<!-- run")
        run = tuple((match["run"] or "").split()) if marked else None
        found.append(Block(match["language"], match["code"], line, match["title"], run))
    return found


def without_blocks(text: str) -> str:
    """The page's prose."""
    return _BLOCK.sub("", text)
