"""The paper's tables and figures from finished runs: ``mtl-bert report DIR...``."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtl_bert.utils import console
from mtl_bert.utils.errors import UserError, say

if TYPE_CHECKING:
    from mtl_bert.analysis.run_files import Run

EXAMPLES = f"""\b
Examples
  mtl-bert report runs
      everything below runs, into runs/report
  mtl-bert report runs --out report --run {console.EXAMPLE}
      with the confusion matrices, scatter plots and mistakes of that run
  mtl-bert train -m +experiment/table4=arrp_f0_lambda05,rr seed=1,2,3 \\
          data=cs224n data.dir=DIR model=bert_base
      makes runs to report on: rows of Table 4 with three seeds
  mkdir theirs && tar -xf published/runs.tar.xz -C theirs
  mtl-bert report theirs runs --out report
      what --publish wrote, beside your own runs (of two runs of the same method
      with the same seed the newer one counts)

Runs that differ in nothing but the seed are repetitions of one method. Methods stand side by side
when everything else (data, encoder, batch, learning rate, ...) is the same; other settings get a
section of their own. Rows that nobody has run are shown with the command that makes them.
"""
app = console.application()
main = partial(console.run, app, "python -m mtl_bert.report")


@app.command(cls=console.Command, epilog=EXAMPLES)
def report(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR", help="where runs lie")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default: report in the first DIR.")
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN", help="Show this run's answers (default: each setting's best ARRP run's)."
        ),
    ] = None,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish",
            help="Write small files to commit, without the texts of examples: report.md, tables, "
            "SVG figures, and runs.tar.xz, from which this report can be made again.",
        ),
    ] = False,
) -> None:
    """Put finished runs side by side, as the paper's tables do.

    Shows the paper's numbers beside yours, whether differences are real, and what became of its
    claims.

    Reads every results.json below each DIR, and predictions/TASK.csv beside it. Writes index.html
    (one page that needs nothing else), runs/*.html (such a page for each run), report.md,
    tables/*.csv and figures/*.png and *.svg. It trains nothing and needs no GPU.
    """
    from mtl_bert.analysis.document import PAGE
    from mtl_bert.analysis.numbers import counted
    from mtl_bert.analysis.run_files import find_runs

    out = _place(directories, out, publish=publish)
    for directory in directories:
        if not directory.is_dir():
            raise UserError(
                f"DIR: expected a directory with runs, found nothing at {directory}; "
                "write the directory in which runs lie, for example runs"
            )
    runs, warnings = find_runs(directories)
    chosen = [_chosen(path, runs) for path in run or ()]
    runs += [one for one in chosen if one not in runs]
    if publish:
        for name, count in Counter(one.name for one in runs).items():
            if count > 1:  # an archive has room for one of them
                raise UserError(
                    f"--publish: expected runs of different names, found {count} of {name}; "
                    "rename one of the DIRs"
                )
        runs, chosen = ([replace(one, quoted=False) for one in some] for some in (runs, chosen))
    for warning in warnings:
        say(warning, sys.stderr)
    if not runs:
        where = ", ".join(map(str, directories))
        raise UserError(
            f"DIR: expected results.json of finished runs, found none that can be used below "
            f"{where}; train something first: mtl-bert train hydra.run.dir=DIR/first"
        )
    from mtl_bert.analysis.contents import report as reported
    from mtl_bert.analysis.render import TEXT, publish_report, write_report
    from mtl_bert.analysis.run_page import run_pages

    try:
        if publish:  # warnings name places of this machine, and were given already
            publish_report(reported(runs, (), chosen, pages=False), runs, out)
        else:
            write_report(reported(runs, warnings, chosen), out, run_pages(runs))
    except OSError as error:
        raise UserError(
            f"--out: expected a directory that can be written, found {error.strerror} at "
            f"{error.filename or out}; write another --out DIR"
        ) from error
    first = out / (TEXT if publish else PAGE)
    print(f"{counted(len(runs), 'run')}; report written to {first}")


def _place(directories: Sequence[Path], given: Path | None, *, publish: bool) -> Path:
    """Where the report goes: nowhere where texts lie that must not be published."""
    from mtl_bert.analysis.document import PAGE

    if not publish:
        return given or directories[0] / "report"
    if given is None:
        raise UserError(
            "--publish: expected a directory of its own, found no --out; write --out DIR"
        )
    if (given / PAGE).exists():
        raise UserError(
            "--out: expected a directory without a whole report, whose pages have the data's "
            f"texts, found {given / PAGE}; write another --out DIR"
        )
    return given


def _chosen(path: Path, runs: Sequence["Run"]) -> "Run":
    """The run of a directory, among those that were read or read now."""
    from mtl_bert.analysis.run_files import UnusableError, read_run

    for known in runs:
        if known.directory.resolve() == path.resolve():
            return known
    try:
        return read_run(path, path.parent)
    except UnusableError as error:
        raise UserError(
            f"--run: expected the directory of a finished run, found none at {path} ({error}); "
            "write a directory that holds results.json"
        ) from error


if __name__ == "__main__":
    main()
