"""Who reads only ``help(X)`` can use X: of everything public, sentences, and every argument."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import mtl_bert
from mtl_bert import analysis, sampling, surgery, tasks
from mtl_bert.analysis import figures
from mtl_bert.config.reference import attributes_of
from mtl_bert.sampling import loader

FRAGMENT = re.compile(
    r"(?i:whose|likewise|that|those|ditto|the same)\b|.*\b(?i:likewise|whose)\.$|.*[^.:?!)]$"
)


INNER = ("AveragedRows", "GradientMatrix", "LocalRows")
"""Parts of the surgeon, given out for what is built like it; see its own tests."""

EXCEPTIONS = (
    mtl_bert.UserError,
    surgery.FreezeError,
    surgery.LossError,
)  # take what Exception takes


def public() -> Iterator[tuple[str, Any]]:
    """Everything that the packages give out, and the methods of classes among it."""
    packages = (mtl_bert, sampling, surgery, tasks, analysis)
    packages = (mtl_bert, sampling, surgery, tasks, analysis)
    listed = {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in packages
        for name in package.__all__
        if name not in ("__version__", "figure")
    }
    listed |= {f"figures.{n}": getattr(figures, n) for n in ("tradeoff", "progress", "effect")}
    listed["loader.Part"] = loader.Part
    seen = {id(getattr(surgery, name)) for name in INNER}
    for name, thing in listed.items():
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        yield name, thing
        if inspect.isclass(thing):
            for attribute, member in vars(thing).items():
                inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
                inherited = any(hasattr(base, attribute) for base in thing.__mro__[1:])
                if not attribute.startswith("_") and inspect.isfunction(inner) and not inherited:
                    yield f"{name}.{attribute}", inner


PUBLIC = [pytest.param(thing, id=name) for name, thing in public()]


@pytest.mark.parametrize("thing", PUBLIC)
def test_it_begins_with_a_sentence(thing: Any) -> None:
    first = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    assert first[:1].isupper() or first.startswith(("λ", "`")), first
    assert len(first.split()) >= 3, first
    assert not FRAGMENT.match(first), first


@pytest.mark.parametrize("thing", PUBLIC)
def test_it_describes_every_argument(thing: Any) -> None:
    if dataclasses.is_dataclass(thing):
        named = {field.name for field in dataclasses.fields(thing) if field.init}
    elif thing in EXCEPTIONS:
        named = {"message"}
    else:
        named = {*inspect.signature(thing).parameters} - {"self", "cls", "args", "kwargs"}
    text = inspect.getdoc(thing) or ""
    spoken_of = {name for name in named if re.search(rf"\b{name}\b", text)}
    if len(named) > 1:  # what a single one is, the sentence says
        assert named - spoken_of - {*attributes_of(thing)} == set(), text
