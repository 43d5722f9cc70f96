"""The paper's tables and figures from finished runs: ``python -m mtl_bert.report DIR...``."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mtl_bert.analysis.document import PAGE
from mtl_bert.analysis.numbers import counted
from mtl_bert.analysis.run_files import Run, UnusableError, find_runs, read_run
from mtl_bert.utils.errors import UserError, told_in_a_line

DESCRIPTION = """\
Put finished runs side by side in the form of the paper's tables and figures: its numbers beside
yours, whether differences are real, and what became of its claims.

Reads every results.json below each DIR, and predictions/TASK.csv beside it. Writes index.html (one
page that needs nothing else), runs/*.html (such a page for each run), report.md, tables/*.csv and
figures/*.png and *.svg. It trains nothing and needs no GPU.

What --publish wrote can be read like any runs, and stand beside yours in one report (of two runs
of the same method with the same seed the newer one counts):
  mkdir theirs && tar -xf published/runs.tar.xz -C theirs
  python -m mtl_bert.report theirs runs --out report"""

EPILOG = """\
examples
  python -m mtl_bert.report runs
      everything below runs, into runs/report
  python -m mtl_bert.report runs --out report --run runs/2026-11-24/06-23-45-arrp-seed1
      with the confusion matrices, scatter plots and mistakes of that run
  python -m mtl_bert.train -m +experiment/table4=arrp_f0_lambda05,rr seed=1,2,3 data=cs224n \\
      data.dir=DIR model=bert_base
      makes runs to report on: rows of Table 4 with three seeds

Runs that differ in nothing but the seed are repetitions of one method. Methods stand side by side
when everything else (data, encoder, batch, learning rate, ...) is the same; other settings get a
section of their own. Rows that nobody has run are shown with the command that makes them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    with told_in_a_line():
        run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Read the runs and write the report.

    Raises:
        UserError: there is nothing to report on, or nowhere to write it.
    """
    directories: list[Path] = options.directories
    out = _place(options)
    for directory in directories:
        if not directory.is_dir():
            raise UserError(
                f"DIR: expected a directory with runs, found nothing at {directory}; "
                "write the directory in which runs lie, for example runs"
            )
    runs, warnings = find_runs(directories)
    chosen = [_chosen(path, runs) for path in options.run]
    runs += [run for run in chosen if run not in runs]
    if options.publish:
        _check_names(runs)
        runs, chosen = ([replace(run, quoted=False) for run in some] for some in (runs, chosen))
    for warning in warnings:
        sys.stderr.write(f"{warning}\n")
    if not runs:
        where = ", ".join(map(str, directories))
        raise UserError(
            f"DIR: expected results.json of finished runs, found none that can be used below "
            f"{where}; train something first: python -m mtl_bert.train hydra.run.dir=DIR/first"
        )
    from mtl_bert.analysis.archive import publish
    from mtl_bert.analysis.contents import report
    from mtl_bert.analysis.render import TEXT, write_report
    from mtl_bert.analysis.run_page import run_pages

    try:
        if options.publish:  # warnings name places of this machine, and were given already
            publish(report(runs, (), chosen, pages=False), runs, out)
        else:
            write_report(report(runs, warnings, chosen), out, run_pages(runs))
    except OSError as error:
        raise UserError(
            f"--out: expected a directory that can be written, found {error.strerror} at "
            f"{error.filename or out}; write another --out=DIR"
        ) from error
    first = out / (TEXT if options.publish else PAGE)
    print(f"{counted(len(runs), 'run')}; report written to {first}")


def _place(options: argparse.Namespace) -> Path:
    """Where the report goes.

    Raises:
        UserError: texts that must not be published lie there.
    """
    given: Path | None = options.out
    if not options.publish:
        return given or Path(options.directories[0], "report")
    if given is None:
        raise UserError(
            "--publish: expected a directory of its own, found no --out; write --out=DIR"
        )
    if (given / PAGE).exists():
        raise UserError(
            "--out: expected a directory without a whole report, whose pages have the data's "
            f"texts, found {given / PAGE}; write another --out=DIR"
        )
    return given


def _check_names(runs: Sequence[Run]) -> None:
    """Refuse runs of one name, as an archive has room for one of them."""
    for name, count in Counter(run.name for run in runs).items():
        if count > 1:
            raise UserError(
                f"--publish: expected runs of different names, found {count} of {name}; "
                "rename one of the DIRs"
            )


def _chosen(path: Path, runs: Sequence[Run]) -> Run:
    """The run of a directory, among those that were read or read now."""
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mtl_bert.report",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directories", metavar="DIR", nargs="+", type=Path, help="where runs lie")
    parser.add_argument("--out", metavar="DIR", type=Path, help="default: report in the first DIR")
    parser.add_argument(
        "--run",
        metavar="RUNDIR",
        nargs="+",
        type=Path,
        action="extend",
        default=[],
        help="show the answers of these runs (default: of each setting's best ARRP run)",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="write small files to commit, without the texts of examples: report.md, tables, SVG "
        "figures, and runs.tar.xz, from which this report can be made again",
    )
    return parser


if __name__ == "__main__":
    main()
