"""The command that would make a run of the same setting."""

import shlex
from collections.abc import Iterable
from typing import Any

from mtl_bert.analysis import paper
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Study

TRAIN = ("python", "-m", "mtl_bert.train", "-m")
LEAST_SEEDS = (1, 2, 3)  # a spread needs more than one
_SOURCES = {"Synthetic": "demo", "Delimited": "cs224n", "Hub": "hub"}
_SCHEDULES = {"constant_with_warmup": "constant"}
_WARMUP = {"constant": 0.0, "linear": 0.1, "cosine": 0.1}
# What conf/optimizer/adamw.yaml and conf/model/*.yaml say; only other values need words.
_OPTIMIZER = {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "fused": True}
_DATA = {"share": 1.0, "limit": None, "imbalance": None, "dev_limit": None, "seed": 0}
_TRAINER = {
    "precision": "32-true",
    "gradient_clip_val": None,
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
}
_DEV_SAMPLE = 2000
_PRETRAINED = {"pairs": "joint", "dropout": 0.1, "max_length": None}
_TINY = {**_PRETRAINED, "dropout": 0.0}
_TINY_ENCODER = {
    "hidden_size": 96, "num_hidden_layers": 1, "num_attention_heads": 8, "intermediate_size": 96,
    "max_position_embeddings": 128, "initializer_range": 0.1, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
_BERT = "google-bert/bert-base-uncased"


def fill(study: Study, table: int, experiment: str, epochs: int) -> str:
    """The command for a row of the paper that a study lacks."""
    words = _command(study, f"+experiment/table{table}={experiment}", epochs)
    scales = {g.method.B_scale for g in study.groups if g.method.B is not None}
    if len(scales) == 1 and (scale := scales.pop()) != 1:
        words.append(f"B_scale={scale:g}")
    return shlex.join(words)


def independent(study: Study, epochs: int) -> str:
    """The command for the single-task models that a study lacks."""
    return shlex.join(_command(study, "sampler=single", epochs))


def _command(study: Study, choice: str, epochs: int) -> list[str]:
    seeds = sorted({run.results.seed for run in study.runs} | set(LEAST_SEEDS))
    return [
        *TRAIN,
        choice,
        f"seed={','.join(map(str, seeds))}",
        *overrides(study.runs[0], epochs),
    ]


def overrides(run: Run, epochs: int) -> list[str]:
    """The settings that a run shares with all of its study, as one writes them."""
    config = run.results.config
    words = [*_tasks(config["tasks"]), *_data(config["data"]), *_model(config["model"])]
    # A sweep's jobs have one process each, which sees what several saw together.
    trainer = config["trainer"]
    batch = config["batch_size"] * trainer.get("devices", 1) * trainer.get("num_nodes", 1)
    words += [f"epochs={epochs}", f"batch_size={batch}"]
    if config.get("group_by_length") is not None:
        words.append(f"group_by_length={config['group_by_length']}")
    words.append(f"lr={_plain(config['lr'])}")
    words += _others("optimizer", config.get("optimizer") or {}, _OPTIMIZER)
    words += _scheduler(config.get("scheduler") or {})
    words += _others("trainer", trainer, _TRAINER)
    sample = trainer.get("dev_sample")  # older versions scored all
    largest = max(sizes.get("dev", 0) for sizes in run.results.data.sizes.values())
    if sample != _DEV_SAMPLE and largest > min(_DEV_SAMPLE, sample or _DEV_SAMPLE):
        words.append(f"trainer.dev_sample={_plain(sample)}")
    return words


def _tasks(tasks: Iterable[str]) -> list[str]:
    """Which tasks, if not all of the paper's and no others; in any order they are the same."""
    return [] if {*tasks} == {*paper.TITLES} else [f"task=[{','.join(tasks)}]"]


def _data(data: dict[str, Any]) -> list[str]:
    kind = str(data.get("source", {}).get("_target_", "")).rpartition(".")[2]
    name = _SOURCES.get(kind, kind)
    words = [f"data={name}"]
    if name == "cs224n":
        words.append("data.dir=DIR")
    if name == "demo":
        words.append(f"data.scale={_plain(data.get('scale', 1.0))}")
    return words + _others("data", data, _DATA)


def _model(model: dict[str, Any]) -> list[str]:
    source = model.get("source", {})
    if str(source.get("_target_", "")).endswith(".Tiny"):
        encoder = source.get("settings") or {}
        return [
            "model=tiny",
            *_others("model", model, _TINY),
            *_others("model.source.settings", encoder, _TINY_ENCODER),
        ]
    if source.get("local"):
        words = ["model=local", "model.path=DIR"]
    else:
        words = ["model=bert_base"]
        path = source.get("path", _BERT)
        if path != _BERT:
            words.append(f"model.path={'DIR' if str(path).startswith('/') else path}")
    settings = (source.get("settings") or {}).items()
    words += [f"+model.source.settings.{key}={_plain(value)}" for key, value in settings]
    return words + _others("model", model, _PRETRAINED)


def _scheduler(scheduler: dict[str, Any]) -> list[str]:
    given = str(scheduler.get("name", "constant"))
    name = _SCHEDULES.get(given, given)
    words = [] if name == "constant" else [f"scheduler={name}"]
    return words + _others("scheduler", scheduler, {"warmup_ratio": _WARMUP.get(name)})


def _others(group: str, node: dict[str, Any], usual: dict[str, Any]) -> list[str]:
    """Settings of a group that are not as usual."""
    return [
        f"{group}.{key}={_plain(node[key])}"
        for key, value in usual.items()
        if key in node and node[key] != value
    ]


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_plain(each)}' for key, each in value.items())}}}"
    return f"[{','.join(map(_plain, value))}]" if isinstance(value, list) else str(value)
