"""What finished runs say, on a page that answers first: ``mtl-bert report DIR...``."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtl_bert.utils import console
from mtl_bert.utils.errors import UserError, say

if TYPE_CHECKING:
    from mtl_bert.analysis.frames import Frames

EXAMPLES = f"""\b
Examples
  mtl-bert report runs
      everything below runs, into runs/report
  mtl-bert report runs --baseline annealed --margin 0.005
      hold every method against annealed sampling; what differs by less than 0.005 is equivalent
  mtl-bert report runs --out report --run {console.EXAMPLE}
      with the confusion matrices, scatter plots and mistakes of that run
  mtl-bert report runs --to csv --out frames
      the numbers alone, as tidy frames for your own analysis
  mtl-bert train -m +experiment/table4=arrp_f0_lambda05,rr seed=1,2,3 \\
          data=cs224n data.dir=DIR model=bert_base
      makes runs to report on: rows of Table 4 with three seeds
  mkdir theirs && tar -xf published/runs.tar.xz -C theirs
  mtl-bert report theirs runs --out report
      what --publish wrote, beside your own runs (of two runs of the same method
      with the same seed the newer one counts)

Runs that differ in nothing but the seed are repetitions of one method. Methods stand side by side
when everything else (data, encoder, batch, learning rate, ...) is the same; other settings get a
section of their own. With --tuned lr each method may have a learning rate of its own. Tables of
the paper come with the command for the rows that nobody has run.
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
        typer.Option(metavar="RUN", help="Show this run's answers (default: the best run's)."),
    ] = None,
    baseline: Annotated[
        str, typer.Option(metavar="METHOD", help="What others are held against (default: RR).")
    ] = "",
    margin: Annotated[
        float, typer.Option(help="Within which methods count as equivalent.", min=0)
    ] = 0.01,
    tuned: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SETTING",
            help="Chosen for each method, and no reason to part runs: lr, optimizer, scheduler.",
        ),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also draw every figure as SVG and PNG.")
    ] = False,
    to: Annotated[
        Literal["csv", "parquet"] | None,
        typer.Option(help="Write the frames alone, a file each, instead of a report."),
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
    """Say which method is best, how sure that is, and what it costs.

    Reads every results.json below each DIR, and predictions/TASK.csv beside it. Writes index.html
    (one page that needs nothing else and no network; each run has a view in it), report.md and
    tables/*.csv. It trains nothing and needs no GPU.
    """
    from mtl_bert.analysis import publishing
    from mtl_bert.analysis.frames import read

    if publish and to is not None:
        raise UserError(
            "--to: expected nothing with --publish, as frames have texts and paths, found "
            f"{to}; leave it out"
        )
    out = _place(directories, out, publish=publish)
    places = [*directories, *(path for path in run or () if not _below(path, directories))]
    frames = read(*places, tuned=tuned or ())
    for warning in frames.warnings:
        say(warning, sys.stderr)
    if frames.runs.empty:
        where = ", ".join(map(str, directories))
        raise UserError(
            f"DIR: expected results.json of finished runs, found none that can be used below "
            f"{where}; train something first: mtl-bert train hydra.run.dir=DIR/first"
        )
    chosen = [_chosen(path, frames) for path in run or ()]
    if to is not None:
        written = publishing.write_frames(frames, out, to)
        print(f"{len(frames.runs):,} runs; frames written to {', '.join(map(str, written))}")
        return
    from mtl_bert.analysis import page  # draws, which takes seconds to import

    made = partial(page.report, baseline=baseline or None, margin=margin, chosen=chosen)
    if publish:  # warnings name places of this machine, and were given already
        frames = replace(frames, texts=False, warnings=())
        publishing.publish_report(made(frames, with_views=False), frames.runs, out)
    else:
        publishing.write_report(made(frames), out, ("svg", "png") if figures else ())
    count = len(frames.runs)
    first = out / (publishing.TEXT if publish else publishing.PAGE)
    print(f"{count:,} run{'' if count == 1 else 's'}; report written to {first}")


def _place(directories: list[Path], given: Path | None, *, publish: bool) -> Path:
    """Where the report goes: nowhere where texts lie that must not be published."""
    from mtl_bert.analysis.publishing import PAGE

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


def _below(path: Path, directories: list[Path]) -> bool:
    return any(path.resolve().is_relative_to(each.resolve()) for each in directories)


def _chosen(path: Path, frames: "Frames") -> str:
    """The name of the run in a directory."""
    for name, directory in zip(frames.runs["run"], frames.runs["directory"], strict=True):
        if Path(directory).resolve() == path.resolve():
            return str(name)
    raise UserError(
        f"--run: expected the directory of a finished run, found none at {path}; "
        "write a directory that holds results.json"
    )


if __name__ == "__main__":
    main()
