"""A run's config.yaml is read as data: what it names is called only if it is harmless."""

import re
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from mtl_bert.config.compose import settings_yaml
from mtl_bert.config.saved import callables, saved_settings
from mtl_bert.config.settings import ConfigError, shown
from tests.composing import settings_of
from tests.factories import assert_tells

CHOICES = ("task=[sst,sts]", "sampler=arrp", "surgery=cagrad", "logger=[wandb,tensorboard]")
SAVED: dict[str, Any] = yaml.safe_load(settings_yaml(settings_of(*CHOICES)))

FOREIGN = (
    "canary.call",
    "os.system",
    "posix.system",
    "builtins.exec",
    "builtins.open",
    "numpy.load",
    "torch.load",
    "torch.hub.load",
    "torch.nn.modules.loss.os.system",
    "torch.optim.lr_scheduler.LambdaLR.load_state_dict",
    "torch.optim.optimizer.torch.load",
    "torchmetrics.text.BERTScore",
    "torchmetrics.functional.text.bert_score",
    "torchmetrics.utilities.imports.subprocess.run",
    "transformers.AutoModel.from_pretrained",
    "transformers.get_scheduler.__globals__",
    "hydra.utils.instantiate",
    "functools.partial",
    "pathlib.Path.write_text",
    # Ours, but no part of a run: they write, load or start something, or lead on to what does.
    "mtl_bert.train",
    "mtl_bert.utils.files.write_text",
    "mtl_bert.utils.files.shutil.rmtree",
    "mtl_bert.runs.checkpoint.write",
    "mtl_bert.runs.checkpoint.torch.load",
    "mtl_bert.runs.provenance.subprocess.run",
    "mtl_bert.machine.processes.spawn",
    "mtl_bert.jobs.hydra_callback.SweepCallback",
    "torch.nn.CrossEntropyLoss\n",
    "torch.nn.\N{FULLWIDTH LATIN CAPITAL LETTER M}SELoss",
    "",
    3,
    None,
    ["os.system"],
    {"name": "os.system"},
)


def saved(place: Path, text: str) -> Path:
    (place / "config.yaml").write_text(text, "utf-8")
    return place / "config.yaml"


def refused(path: Path, *parts: str, **how: Any) -> None:
    with pytest.raises(ConfigError) as error:
        saved_settings(path, **how)
    assert_tells(error.value, str(path), *parts)


@pytest.mark.parametrize("name", FOREIGN, ids=repr)
def test_what_is_not_on_the_list_is_refused_by_name(tmp_path: Path, name: object) -> None:
    (tmp_path / "canary.py").write_text("raise SystemExit('imported')")
    sys.path.insert(0, str(tmp_path))
    try:
        config = SAVED | {"optimizer": {"_target_": name, "_partial_": True, "lr": 0.1}}
        refused(saved(tmp_path, yaml.safe_dump(config)), "optimizer._target_")
    finally:
        sys.path.remove(str(tmp_path))


def poisoned(node: Any, names: Iterator[str]) -> Any:
    """The same, but whatever is no mapping or list names something to be called."""
    if isinstance(node, dict):
        return {key: poisoned(value, names) for key, value in node.items()}
    if isinstance(node, list):
        return [poisoned(value, names) for value in node] + [{"_target_": next(names)}]
    return {"_args_": [{"_recursive_": False, "_partial_": True, "x": {"_target_": next(names)}}]}


def test_it_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    numbers = count()
    config = poisoned(SAVED, (f"evil.call{number}" for number in numbers)) | {"overrides": []}
    names = {f"evil.call{number}" for number in range(next(numbers))}
    assert len(names) > 100
    with pytest.raises(ConfigError) as error:
        saved_settings(saved(tmp_path, yaml.safe_dump(config)))
    assert set(re.findall(r"_target_=([\w.]+)", str(error.value))) == names
    assert_tells(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.HuberLoss",
        "torch.optim.SGD",
        "torch.optim.lr_scheduler.StepLR",
        "torchmetrics.MetricCollection",
        "torchmetrics.regression.SpearmanCorrCoef",
        "torchjd.aggregation.UPGradWeighting",
        "transformers.get_linear_schedule_with_warmup",
        "mtl_bert.data.sources.demo.sentiment",
    ],
)
def test_parts_and_harmless_callables_are_taken(tmp_path: Path, name: str) -> None:
    config = SAVED | {"optimizer": {"_target_": name, "weight": {"_target_": "torch.tensor"}}}
    found = saved_settings(saved(tmp_path, yaml.safe_dump(config)))
    assert found.optimizer["_target_"] == name


def test_every_choice_of_ours_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path, settings_yaml(settings_of(*CHOICES)))
    assert saved_settings(path) == settings_of(*CHOICES)


def test_an_infinite_number_stays_one(tmp_path: Path) -> None:
    settings = settings_of("sampler=temperature", "sampler.temperature=inf")
    path = saved(tmp_path, settings_yaml(settings))
    assert saved_settings(path).sampler["temperature"] == float("inf")
    assert saved_settings(path) == settings


def test_whoever_names_it_or_the_folder_again_trusts_it(tmp_path: Path) -> None:
    config = SAVED | {"optimizer": {"_target_": "mine.Adam"}}
    path = saved(tmp_path, yaml.safe_dump(config))
    refused(path, "optimizer._target_=mine.Adam", f"write trust={tmp_path}")
    refused(path, "mine.Adam", trust=tmp_path / "other", named={"mine.SGD"})
    assert saved_settings(path, trust=tmp_path / "." / ".." / tmp_path.name)
    assert saved_settings(path, named=callables(config))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("data: {dir: '${oc.env:HOME}'}", "data.dir: '${oc.env:HOME}', which is not resolved"),
        ("seed: ${oc.decode:'1'}", "seed"),
        ("tasks: {sst: {known_as: ['${hydra:job.name}']}}", "tasks.sst.known_as.0"),
        ('model: {path: "a\\0b"}', "model.path"),
        ("a: &a [x]\nb: [*a, *a]", "an alias, 32 levels"),
        ("a: &a {b: *a}", "an alias, 32 levels"),
        ("[" * 40 + "]" * 40, "an alias, 32 levels"),
        ("[" * 100_000, "an alias, 32 levels"),
        ("a: " + "x" * 2**20, "or 1,048,576 bytes"),
        ("!!python/object/apply:os.system ['touch pwned']", "could not determine"),
        ("seed: 1\nseed: 2", "constructing"),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path: Path, line: str, told: str) -> None:
    refused(saved(tmp_path, line), told)
    refused(tmp_path / "config.yaml", told, trust=tmp_path)


def test_a_command_line_is_only_quoted(tmp_path: Path) -> None:
    config = SAVED | {"overrides": ["B=${oc.env:HOME}"]}
    assert saved_settings(saved(tmp_path, yaml.safe_dump(config))).overrides == ["B=${oc.env:HOME}"]


@pytest.mark.parametrize("name", ["../../secret", "a/b", "a\x1b[2J", "", "1st", "x" * 101, "a b"])
def test_a_task_is_named_like_a_file_of_its_own(tmp_path: Path, name: str) -> None:
    config = SAVED | {"tasks": {name: SAVED["tasks"]["sst"]}}
    with pytest.raises(ConfigError) as error:
        saved_settings(saved(tmp_path, yaml.safe_dump(config)))
    assert_tells(error.value, "tasks: expected", "letters, digits and _", shown(name))
