"""Finding runs, and leaving out what is none of this program's."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mtl_bert.analysis.heads import head_of
from mtl_bert.analysis.methods import method_of
from mtl_bert.analysis.runs import Run, UnusableError, read_run
from mtl_bert.analysis.studies import setting_of
from mtl_bert.runs.results import RESULTS


def find_runs(directories: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """All runs below the directories, and a warning for each results.json that is none."""
    runs: list[Run] = []
    warnings: list[str] = []
    known: set[Path] = set()
    roots = list(directories)
    for root in roots:
        for path in sorted(root.rglob(RESULTS)):
            if path.resolve() in known:
                continue
            known.add(path.resolve())
            try:
                run = find_run(path.parent, root)
            except UnusableError as error:
                warnings.append(str(error))
                continue
            if len(roots) > 1:  # below several directories, the same name may come up again
                run = replace(run, name=f"{root.resolve().name}/{run.name}")
            runs.append(run)
    return runs, warnings


def find_run(directory: Path, root: Path) -> Run:
    """The run in a directory, if a report can be made of it.

    Raises:
        UnusableError: one line that names the file.
    """
    run = read_run(directory, root)
    try:  # a configuration has no schema here; these read all of it that a report does
        str(method_of(run).label), setting_of(run)
        [head_of(node) for node in run.config["tasks"].values()]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnusableError(
            f"{directory / RESULTS}: expected a configuration of this program, found another "
            f"({type(error).__name__}: {error}); left out"
        ) from error
    return run
