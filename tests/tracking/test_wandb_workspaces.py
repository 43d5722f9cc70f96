"""Dashboards need no network and name what docs/reference/metrics.md promises, nothing else."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from mtl_bert.config.compose import known_tasks
from mtl_bert.tracking import wandb_workspaces as publishing
from mtl_bert.tracking.wandb_workspaces import Subject, dashboards, specification
from tests.documented import filled, promised

SUBJECT = Subject("someone", "mtl-bert", list(known_tasks()), run="a1b2c3d4")
METRICS = {
    task: node.get("metric_name") or "+".join(node["score"].get("of") or node["metrics"][:1])
    for task, node in known_tasks().items()
}
NAMES = {
    name
    for section in ("Curves", "W&B: answers", "W&B: summary")
    for name in filled(promised(section), METRICS)
} | {"trainer/global_step"}
LAMBDA, B, SAMPLER = "config:lambda.value", "config:B.value", "config:sampler.value.name"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return dashboards(SUBJECT)


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a specification."""
    if isinstance(node, dict):
        yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from walk(child)


def panels(spec: Any) -> list[dict[str, Any]]:
    return [node for node in walk(spec) if "viewType" in node and "config" in node]


def named_in(spec: Any) -> tuple[set[str], set[str]]:
    """The metrics that panels name, and the patterns by which they find metrics."""
    names, patterns = set(), set()
    for panel in panels(spec):
        config = panel["config"]
        names |= set(config.get("metrics", ())) | set(config.get("mediaKeys", ()))
        names |= {column["accessor"] for column in config.get("columns", ())}
        names |= {config[key] for key in ("xAxis", "yAxis", "zAxis") if config.get(key)}
        patterns |= {config["metricRegex"]} if config.get("metricRegex") else set()
    values = (str(value) for node in walk(spec) for value in node.values())
    names |= {value for value in values if value.startswith("answers/")}
    return {name.removeprefix("summary:") for name in names}, patterns


@pytest.mark.parametrize("which", ["run", "sweep"])
def test_panels_name_metrics_that_there_are(made: dict[str, Any], which: str) -> None:
    names, patterns = named_in(specification(made[which]))
    assert len(names) > 4
    assert names - NAMES - {LAMBDA, B, SAMPLER} == set()
    for pattern in patterns:
        assert any(re.fullmatch(pattern, name) for name in NAMES), pattern


def test_every_curve_and_answer_is_in_the_workspace_of_a_run(made: dict[str, Any]) -> None:
    names, patterns = named_in(specification(made["run"]))
    answers = {f"answers/{kind}/{task}" for kind in ("chart", "mistakes") for task in METRICS}
    wanted = filled(promised("Curves"), METRICS) | answers
    shown = {name for name in wanted if any(re.fullmatch(p, name) for p in patterns)}
    assert wanted - shown - names == set()


def test_the_run_s_workspace_shows_that_run_only(made: dict[str, Any]) -> None:
    def filters(one: Any) -> str:
        (runs,) = specification(one)["spec"]["section"]["runSets"]
        return json.dumps(runs["filters"])

    assert '"a1b2c3d4"' in filters(made["run"])
    assert "a1b2c3d4" not in filters(made["sweep"])
    everything = dashboards(replace(SUBJECT, run=None))
    assert filters(everything["run"]) == filters(made["sweep"])


def test_the_sweep_s_workspace_compares_choices(made: dict[str, Any]) -> None:
    spec = specification(made["sweep"])
    (runs,) = spec["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["group"]
    by_kind = {panel["viewType"]: panel["config"] for panel in panels(spec)}
    columns = [c["accessor"] for c in by_kind["Parallel Coordinates Plot"]["columns"]]
    assert {LAMBDA, B, SAMPLER, "summary:score"} <= set(columns)
    scatters = [p["config"] for p in panels(spec) if p["viewType"] == "Scatter Plot"]
    axes = {(config["xAxis"], config["yAxis"]) for config in scatters}
    assert ("summary:minutes_per_epoch", "summary:score") in axes


def test_they_are_saved_in_the_account_s_own_entity(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[str, str]] = []

    def save(self: Any) -> Any:
        saved.append((type(self).__name__, f"{self.entity}/{self.project}"))
        return self

    monkeypatch.setattr(wandb, "login", lambda **_: True)

    def project(name: str, entity: str) -> None:
        saved.append(("project", f"{entity}/{name}"))

    api = SimpleNamespace(default_entity="me", create_project=project)
    monkeypatch.setattr(wandb, "Api", lambda **_: api)
    monkeypatch.setattr(publishing.ws.Workspace, "save", save)
    monkeypatch.setattr(publishing.ws.Workspace, "url", "https://there")
    assert publishing.create(replace(SUBJECT, entity="")) == ["https://there"] * 2
    assert saved == [("project", "me/mtl-bert"), *[("Workspace", "me/mtl-bert")] * 2]


def test_what_w_and_b_refuses_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> Any:
        raise wandb.errors.CommError("permission denied\nand more")

    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(wandb, "Api", lambda **_: SimpleNamespace(create_project=lambda *_: None))
    monkeypatch.setattr(publishing.ws.Workspace, "save", refuse)
    with pytest.raises(
        publishing.UserError,
        match=r"^dashboard: expected .*, found someone/mtl-bert \(permission denied\); write ",
    ):
        publishing.create(SUBJECT)


def test_files_hold_what_is_sent(made: dict[str, Any], tmp_path: Path) -> None:
    paths = publishing.write(made, tmp_path / "deep" / "out")
    assert [path.name for path in paths] == ["run.json", "sweep.json"]
    for path, one in zip(paths, made.values(), strict=True):
        assert json.loads(path.read_text("utf-8")) == specification(one)
