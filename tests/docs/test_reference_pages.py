"""The pages that the site makes from the program name all that there is; no page is lost."""

import importlib.util
import re
from types import ModuleType
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

import mtl_bert
from mtl_bert import sampling, surgery
from mtl_bert.runs.results import Results
from tests.cli.test_front_door import COMMANDS
from tests.docs.pages import DOCS, ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_a_section_with_its_options(hooks: ModuleType) -> None:
    page = hooks.commands()
    headings = set(re.findall(r"^## mtl-bert (\S+)", page, re.MULTILINE))
    assert headings == set(COMMANDS)
    for option in ("--checkpoint", "--text2", "--publish", "plan.sizes=", "sampler=arrp"):
        assert option in page, option


def test_every_field_of_the_results_has_a_line(hooks: ModuleType) -> None:
    page = hooks.results()

    def fields(model: type[BaseModel]) -> set[str]:
        names = set(model.model_fields)
        for field in model.model_fields.values():
            for each in (field.annotation, *get_args(field.annotation)):
                if isinstance(each, type) and issubclass(each, BaseModel):
                    names |= fields(each)
        return names

    assert fields(Results) <= set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def test_everything_public_is_on_a_page_of_the_reference() -> None:
    pages = "".join((DOCS / "reference" / f"{name}.md").read_text("utf-8")
                    for name in ("api", "samplers", "methods"))  # fmt: skip
    listed = set(re.findall(r"\w+", " ".join(re.findall(r"members: \[(.*)\]", pages))))
    inner = {"AveragedRows", "GradientMatrix", "LocalRows"}  # of the surgeon's own making
    everything = {*mtl_bert.__all__, *sampling.__all__, *surgery.__all__}
    assert everything - inner - {"__version__"} <= listed


def test_every_page_has_a_place_in_the_site(hooks: ModuleType) -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    named = set(re.findall(r"'([\w/.-]+\.md)'", str(nav)))
    own = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    made = {*hooks.GENERATED, *hooks.outside().values()}
    assert own <= named
    assert named <= own | made


def test_links_that_leave_the_docs_are_found(hooks: ModuleType) -> None:
    names = set(hooks.outside().values())
    assert {"experiments/README.md", "examples/minimal_arrp.py.md", "CHANGELOG.md"} <= names
    assert not any(name.startswith("docs/") for name in names)
