"""A run's config.yaml, read again: perhaps a stranger's, so it is data and calls no code but ours.

Whatever opens or resumes a run reads its configuration here, before anything in it is used.
"""

import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from mtl_bert.config.compose import CONF, read_job_settings
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.utils.errors import first_line

LONGEST, DEEPEST = 2**20, 32  # bytes, and levels of nesting; ours have some 5,000 and 6

LIBRARIES = re.compile(
    r"torch\.tensor|torch\.nn\.[A-Z]\w*Loss|torch\.optim\.(lr_scheduler\.)?[A-Z]\w*"
    r"|torchmetrics\.((classification|regression)\.)?[A-Z]\w*"
    r"|torchjd\.aggregation\.[A-Z]\w*Weighting"
    r"|transformers\.(optimization\.)?get_\w*schedule\w*",
    re.ASCII,
)
"""What a run may name of other libraries: nothing that reads, writes, loads or starts anything."""


@cache
def own_parts() -> frozenset[str]:
    """What a run may name of this program: what ``conf`` itself names.

    A prefix would not do: ``mtl_bert.runs.provenance.subprocess.run`` begins with one.
    """
    texts = (path.read_text("utf-8") for path in CONF.glob("*/*.yaml"))
    named = {name for text in texts for name in re.findall(r"_target_: *([\w.]+)", text)}
    return frozenset(named | {"mtl_bert.tasks.MultiLabel", "mtl_bert.tasks.SoftLabels"})


def saved_settings(
    path: Path, *, named: Collection[str] = (), trust: str | Path | None = None
) -> Settings:
    """The settings in a run's config.yaml; ConfigError if it is none, or may not be trusted.

    It may call what the command line has ``named`` too (:func:`callables`), and anything if
    ``trust`` is the run's folder.
    """
    try:
        saved = _read(path)
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        raise ConfigError(
            f"{path}: expected the settings of a run, found something else ({first_line(error)}); "
            "write another directory"
        ) from error
    known = {*own_parts(), *named}
    foreign = [
        " ".join(f"{key}={name}".split())
        for key, name in _leaves(saved)
        if "_target_" in key.split(".")
        and not (isinstance(name, str) and (name in known or LIBRARIES.fullmatch(name)))
    ]
    if foreign and not (trust and Path(trust).resolve() == path.parent.resolve()):
        raise ConfigError(
            f"{path}: expected no callables but this program's, losses and optimizers of torch, "
            f"metrics of torchmetrics and schedules of transformers, found {', '.join(foreign)}, "
            f"which could do anything; write trust={path.parent} if you know what it does"
        )
    return read_job_settings(saved)[0]  # what its sampler makes nothing of is not asked for


def callables(config: Any) -> set[str]:
    """The names under ``_target_`` anywhere in a plain configuration."""
    return {str(name) for key, name in _leaves(config) if key.endswith("_target_")}


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    text, depth = content.decode(), 0
    for event in yaml.parse(text, yaml.SafeLoader):  # before a few lines become gigabytes
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > DEEPEST or len(content) > LONGEST:
            raise ValueError(f"an alias, {DEEPEST} levels or {LONGEST:,} bytes")
    saved: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    for key, value in _leaves(saved | {"overrides": None}):  # the command line is only quoted
        if isinstance(value, str) and ("${" in value or "\0" in value):
            raise ValueError(f"{key}: {value!r}, which is not resolved")
    return dict(saved)


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, under its dotted name."""
    if not isinstance(node, dict | list):
        yield key, node
        return
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(value, f"{key}.{name}" if key else str(name))
