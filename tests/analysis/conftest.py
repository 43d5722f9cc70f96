"""A whole report, made once."""

import contextlib
import io
import json
import re
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mtl_bert import report
from mtl_bert.analysis import paper
from tests.analysis.conflicting import quarrel
from tests.analysis.factory import PAPER_SURGERY, Made, damaged, made_of, make_paper, make_run

SUM = {**PAPER_SURGERY, "method": {"_target_": "mtl_bert.surgery.Sum"}, "reduction": "sum"}
HOSTILE = "<script>alert(1)<script>"  # a slash would be another directory
ATTRIBUTE = '" onmouseover="alert(2)'


class Seen(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        into = self.scripts if self.elements and self.elements[-1][0] == "script" else self.texts
        into.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":  # what follows is no script any more
            self.elements.append(("", {}))


@dataclass(frozen=True)
class Written:
    """A report: where its runs lie, where it lies, and what was said."""

    root: Path
    out: Path
    stdout: str
    stderr: str

    @property
    def page(self) -> str:
        return (self.out / "index.html").read_text("utf-8")

    @property
    def charts(self) -> dict[str, Any]:
        """Name -> specification, of the page's charts."""
        found = re.search(r'id="data">(.*?)</script>', self.page, re.DOTALL)
        assert found
        made: dict[str, Any] = json.loads(found[1])
        return made

    @property
    def views(self) -> list[str]:
        """Each run's view, as a part of a page."""
        return re.findall(
            r'<script type="text/html" id="run=\d+">(.*?)</script>', self.page, re.DOTALL
        )


def rows_of(table: str) -> list[list[str]]:
    """The texts of a table's cells."""
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    cells = [re.findall(r"<t[dh]\b[^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    return [[unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", "", cell)) for cell in row] for row in cells]


def reported(root: Path, *options: str, out: str = "report") -> Written:
    said, warned = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(warned):
        report.main([str(root), "--out", str(root / out), *options])
    return Written(root, root / out, said.getvalue(), warned.getvalue())


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The paper's rows, two of them twice, a method of one's own, conflicts, another setting."""
    root = tmp_path_factory.mktemp("runs")
    make_paper(root / "demo", seeds=(1,), B_scale=0.11)
    for name in ("rr", "arrp_f0_lambda05"):
        for seed in (2, 3):
            row = made_of(paper.row(4, name), seed=seed, B_scale=0.11)
            make_run(root / "demo" / f"{name}-{seed}", row)
    make_run(root / "demo" / "own", Made(surgery=SUM))
    make_run(root / "demo" / "quarrel", Made(
        sampler="annealed", B=77, phases=quarrel(("sst", "qqp", "sts"), 3),
    ))  # fmt: skip
    make_run(root / f"real{HOSTILE}", Made(
        sampler="arrp", B=24_000, lambda_=0.5, data="cs224n", synthetic=False,
        encoder="all-MiniLM-L6-v2", sizes={"sst": 8544, "qqp": 52_191, "sts": 6040},
        seen={"qqp": ["Quora"], "sts": [HOSTILE, ATTRIBUTE]},
    ))  # fmt: skip
    damaged(root / "bad\x1b[31m")
    return reported(root)
