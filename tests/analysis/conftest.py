"""A whole report, made once."""

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtl_bert import report
from mtl_bert.analysis import canvas, paper, render
from mtl_bert.analysis.document import Document
from mtl_bert.analysis.render import write_report
from tests.analysis.conflicting import quarrel
from tests.analysis.factory import PAPER_SURGERY, Made, damaged, made_of, make_paper, make_run

SUM = {**PAPER_SURGERY, "method": {"_target_": "mtl_bert.surgery.Sum"}, "reduction": "sum"}
HOSTILE = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Written:
    """A report: where its runs lie, where it lies, what is in it and its pages, what was said."""

    root: Path
    out: Path
    document: Document
    pages: list[Document]
    stdout: str
    stderr: str


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures without their drawings, which take most of a report's time."""

    def save(self: object, file: io.IOBase, **how: object) -> None:
        file.write("<svg ></svg>" if how["format"] == "svg" else b"")  # type: ignore[attr-defined]

    monkeypatch.setattr(canvas.Canvas, "savefig", save)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The paper's rows, two of them twice, a method of one's own, conflicts, another setting."""
    root = tmp_path_factory.mktemp("runs")
    make_paper(root / "demo", seeds=(1,), B_scale=0.11)
    for name in ("rr", "arrp_f0_lambda05"):
        make_run(root / "demo" / f"{name}-2", made_of(paper.row(4, name), seed=2, B_scale=0.11))
    make_run(root / "demo" / "own", Made(surgery=SUM))
    make_run(root / "demo" / "quarrel", Made(
        sampler="annealed", B=77, phases=quarrel(("sst", "qqp", "sts"), 3),
    ))  # fmt: skip
    make_run(root / f"real{HOSTILE.replace('/', '')}", Made(
        sampler="arrp", B=24_000, lambda_=0.5, data="cs224n", synthetic=False,
        encoder="all-MiniLM-L6-v2", sizes={"sst": 8544, "qqp": 52_191, "sts": 6040},
        seen={"qqp": ["Quora"], "sts": [HOSTILE]},
    ))  # fmt: skip
    damaged(root / "bad")
    out, err = io.StringIO(), io.StringIO()
    documents: list[Document] = []
    pages: list[Document] = []

    def write(document: Document, place: Path, beside: Iterable[Document]) -> None:
        documents.append(document)
        pages.extend(beside)
        write_report(document, place, pages)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "write_report", write)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            report.main([str(root)])
    return Written(root, root / "report", documents[0], pages, out.getvalue(), err.getvalue())
