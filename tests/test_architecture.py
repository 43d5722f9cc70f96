"""What may know what: the package's import rules, read off its sources."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtl_bert.config.compose import CONF, PACKAGE

FILES = sorted(PACKAGE.rglob("*.py"))
ENTRY_POINTS = tuple(
    f"mtl_bert.{name}"
    for name in (
        "train",
        "plan",
        "evaluate",
        "new_task",
        "sweep",
        "cache",
        "report",
        "predict",
        "export",
        "dashboard",
    )
)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text("utf-8")) for path in FILES}


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere, also inside functions and for types only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where things come from"
            assert node.module
            # A name may be a module itself: from mtl_bert import cli.
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offences_of(importers: tuple[str, ...], imported: tuple[str, ...]) -> list[str]:
    """Imports of ``imported``, or of anything in it, by these modules."""
    return sorted(
        f"{module} imports {name}"
        for module in importers
        for name in imports(MODULES[module])
        if within(name, *imported)
    )


def offences(importers: tuple[str, ...], imported: tuple[str, ...]) -> list[str]:
    """The same by all modules of some packages."""
    return sorted(
        f"{module} imports {name}"
        for module, tree in MODULES.items()
        if within(module, *importers)
        for name in imports(tree)
        if within(name, *imported)
    )


def test_the_rules_are_about_this_package() -> None:
    assert {"mtl_bert.sampling.arrp", "mtl_bert.data", *ENTRY_POINTS} <= set(MODULES)
    assert offences(("mtl_bert.surgery",), ("torch",))


FLOORS = (
    {"utils"},
    {"tasks", "sampling", "surgery", "config"},
    {"data", "machine"},
    {"model"},
    {"runs"},
    {"analysis"},
    {"inference"},
    {"tracking"},
    {"training"},
    {"memory"},
    {"jobs"},
)
"""A room imports what is below it, and itself; the commands at the top of the package, all."""


def test_imports_run_downwards() -> None:
    rooms = {room for floor in FLOORS for room in floor}
    assert {
        path.parent.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE
    } == rooms
    below: set[str] = set()
    wrong = []
    for floor in FLOORS:
        for room in sorted(floor):
            above = tuple(f"mtl_bert.{other}" for other in rooms - below - {room})
            wrong += offences((f"mtl_bert.{room}",), above)
        below |= floor
    assert wrong == []


def test_no_circle() -> None:
    """Neither among rooms nor among files, also where a function imports."""
    above = {
        module: {name for name in imports(tree) if name in MODULES and name != module}
        for module, tree in MODULES.items()
    }
    packages = {
        module
        for module, tree in MODULES.items()
        if (PACKAGE.parent / module.replace(".", "/")).is_dir()
    }
    arrows = {module: names - packages for module, names in above.items() if module not in packages}
    left = dict(arrows)
    while free := [module for module, names in left.items() if not names & left.keys()]:
        left = {module: names for module, names in left.items() if module not in free}
    assert sorted(left) == []


def test_a_file_at_the_top_is_a_command_and_no_folder_is_called_like_one() -> None:
    top = {path.stem for path in FILES if path.parent == PACKAGE} - {"__init__", "__main__"}
    assert {f"mtl_bert.{name}" for name in top} == set(ENTRY_POINTS)
    assert top & {path.name for path in PACKAGE.rglob("*") if path.is_dir()} == set()


def test_no_file_name_is_used_twice() -> None:
    names = [path.name for path in FILES if path.name != "__init__.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []


CORES = {
    "mtl_bert.sampling": ("numpy", "mtl_bert.utils.validation"),
    "mtl_bert.surgery": ("torch", "mtl_bert.utils.validation", "mtl_bert.utils.errors"),
}
OTHERWISE = {
    "mtl_bert.sampling.loader": ("torch",),  # batches are torch's
    "mtl_bert.surgery.methods.torchjd": ("torchjd",),  # an optional library's methods
}


@pytest.mark.parametrize("package", CORES)
def test_the_cores_know_one_library_and_themselves(package: str) -> None:
    foreign = {
        f"{module} imports {name}"
        for module, tree in MODULES.items()
        if within(module, package)
        for name in imports(tree)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not within(name, package, *CORES[package], *OTHERWISE.get(module, ()))
    }
    assert foreign == set()


def test_nothing_imports_an_entry_point() -> None:
    inside = tuple(module for module in MODULES if module != "mtl_bert.__main__")
    assert offences_of(inside, ENTRY_POINTS) == []


REPORT = (
    "mtl_bert.analysis", "mtl_bert.report", "mtl_bert.runs.answers", "mtl_bert.runs.archive",
    "mtl_bert.runs.methods", "mtl_bert.tasks.resampled_metrics",
)  # fmt: skip
DRAWN_WITH = (
    "numpy", "pandas", "scipy", "altair", "vl_convert", "jinja2", "pydantic", "rich", "typer",
)  # fmt: skip


def test_reporting_needs_nothing_that_trains() -> None:
    """A report is made from files, where neither torch nor the configuration need be installed."""
    known = ("mtl_bert.utils", "mtl_bert.runs.results", *REPORT, *DRAWN_WITH)
    foreign = {
        f"{module} imports {name}"
        for module, tree in MODULES.items()
        if within(module, *REPORT)
        for name in imports(tree)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not within(name, *known)
        and name != "mtl_bert"
    }
    assert foreign == set()


def test_only_the_shell_knows_hydra() -> None:
    shell = (
        "plan",
        "config.command_line",
        "config.compose",
        "config.reference",
        "config.saved",
        "runs.factories",
        "jobs.hydra_callback",
    )
    inside = {f"mtl_bert.{name}" for name in shell}
    packages = {"mtl_bert", *(f"mtl_bert.{name}" for name in ("jobs", "config", "runs"))}
    others = tuple(module for module in MODULES if module not in inside | packages)
    assert offences(others, ("hydra", "omegaconf")) == []


# Tasks are data: their names stand in conf/ and in the made-up text, nowhere in code.

TASKS = sorted(path.stem for path in (CONF / "task").glob("*.yaml"))
MENTION = re.compile(rf"(?<![A-Za-z])({'|'.join(TASKS)})(?![A-Za-z])")
# What a message tells people to write: task=sst, --task sst, plan.sizes='{sts: 6040}'.
EXAMPLE = re.compile(r"\btask[= ]\w+|\b[\w.]+=('[^']*'|\[[^\]]*\])")


def test_no_code_mentions_a_task() -> None:
    assert {"qqp", "sst", "sts", "mnli"} < set(TASKS)
    mentions = sorted(
        f"{module}: {text!r}"
        for module, tree in MODULES.items()
        if not within(module, "mtl_bert.data.sources.demo", "mtl_bert.analysis.paper")  # as printed
        for text in words(tree)
        if MENTION.search(EXAMPLE.sub("", text))
    )
    assert mentions == []


def test_a_mention_would_be_found() -> None:
    code = (
        "'''About sst.'''\nclass A:\n    def load_sst(self, qqp=1): return f'{self}ids-sts.csv'\n"
    )
    assert {w for w in words(ast.parse(code)) if MENTION.search(w)} == {
        "load_sst",
        "qqp",
        "ids-sts.csv",
    }


def words(tree: ast.AST) -> Iterator[str]:
    """Identifiers and strings, without docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        for field in ("name", "id", "attr", "arg", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)
