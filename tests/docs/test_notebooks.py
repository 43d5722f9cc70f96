"""The notebooks of ``examples``, cell by cell, in this process and with small data."""

import ast
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import mtl_bert
from tests.cli.driving import Command
from tests.docs import shell
from tests.docs.pages import ROOT

LINE = re.compile(r"^( *)([%!])(.*)$", re.MULTILINE)  # IPython's own


def carried_out(name: str, command: Command, **given: object) -> list[Any]:
    """Carry a notebook out, with other values for some of its constants; what its cells show."""
    cells = json.loads((ROOT / "examples" / name).read_text("utf-8"))["cells"]
    names: dict[str, Any] = {"typed": lambda text: typed(text, command)}
    shown = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "a notebook is published without its outputs"
        source = LINE.sub(lambda m: f"{m[1]}typed(f{m[2] + m[3]!r})", "".join(cell["source"]))
        *body, last = ast.parse(source).body
        if not isinstance(last, ast.Expr):
            body.append(last)
        exec(compile(ast.Module(body, []), name, "exec"), names)
        names |= {key: value for key, value in given.items() if key in names}
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), name, "eval"), names))
    return [value for value in shown if value is not None]


def typed(text: str, command: Command) -> None:
    """A line that IPython would give to pip or to a shell."""
    words = shlex.split(text[1:])
    if words[0] == "mtl-bert":
        done = command(*words[1:])
        assert done.code in (0, None), done.err
    else:
        shell.check(words)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Have ``mtl_bert.train`` and ``plan`` take settings under which they take a moment."""
    for name in ("train", "plan"):
        whole, words = getattr(mtl_bert, name), [*shell.HERE, *request.param]
        monkeypatch.setattr(
            mtl_bert,
            name,
            lambda *given, whole=whole, words=words, **how: whole(
                *shell.replaced(given, words), **how
            ),
        )


DEMO = ("data.scale=0.001", "epochs=1", "B=24", "batch_size=8", "trainer.baseline=false",
        *(f"tasks.{task}.sources.demo.dev=30" for task in ("sst", "qqp", "sts")))  # fmt: skip
COURSE = ("epochs=2", "B=8", "trainer.precision=32-true")


@pytest.mark.parametrize("small", [DEMO], indirect=True)
@pytest.mark.usefixtures("small")
def test_from_runs_to_a_verdict(command: Command) -> None:
    runs, board, verdict, found, chart, epochs, conflicts = carried_out("compare.ipynb", command)
    assert sorted(runs["seed"]) == [1, 1, 2, 2, 3, 3]
    assert len(board) == 2
    assert verdict.endswith(".")
    assert list(found["what"]) == ["score", "sst", "qqp", "sts"]
    assert "layer" in chart.to_dict()
    assert {*epochs.columns} == {"sst", "qqp", "sts"}
    assert {*conflicts.columns} == {"sst/qqp", "sst/sts", "qqp/sts"}


@pytest.mark.parametrize("small", [COURSE], indirect=True)
@pytest.mark.usefixtures("small")
def test_the_course_on_colab(command: Command, tmp_path: Path) -> None:
    write_course(tmp_path / "data")
    given = {"DATA": str(tmp_path / "data"), "RUN": "runs/arrp", "ENCODER": "tiny"}
    *_, table, scores, answers = carried_out("colab_cs224n.ipynb", command, **given)
    assert table.loc["qqp", "paper"] == 0.878
    assert table["here"].between(-1, 1).all()
    assert list(scores.index) == [1, 2]
    assert len(answers) == 2
    written = {path.name for path in Path("submission").iterdir()}
    assert written == {f"{task}-test-output.csv" for task in ("sst", "para", "sts")}


def write_course(folder: Path) -> None:
    """The course's files, a few rows each."""
    folder.mkdir()
    single, pair = ["sentence"], ["sentence1", "sentence2"]
    files: Mapping[str, tuple[Sequence[str], str, int]] = {
        "ids-sst": (single, "sentiment", 5),
        "quora": (pair, "is_duplicate", 2),
        "sts": (pair, "similarity", 6),
    }
    for name, (texts, label, labels) in files.items():
        for split in ("train", "dev", "test-student"):
            columns = ["", "id", *texts, *([label] if split != "test-student" else [])]
            rows = [
                [n, f"x{n}", *(f"text {n * i}" for i in range(len(texts))), n % labels]
                for n in range(24 if name == "quora" else 10)
            ]
            lines = ["\t".join(map(str, row[: len(columns)])) for row in [columns, *rows]]
            (folder / f"{name}-{split}.csv").write_text("\n".join(lines) + "\n", "utf-8")
