"""The command that would make a run of the same setting."""

import shlex
from typing import Any

from mtl_bert.analysis import paper
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import Study

TRAIN = ("python", "-m", "mtl_bert.train", "-m")
LEAST_SEEDS = (1, 2, 3)  # a spread needs more than one
_SOURCES = {"Synthetic": "demo", "Delimited": "cs224n", "Hub": "hub"}
_WARMUP = {"constant": 0.0, "linear": 0.1, "cosine": 0.1}
_DEV_SAMPLE = 2000
_BERT = "google-bert/bert-base-uncased"
# What conf/ says, by group; only other values need words.
_USUAL: dict[str, dict[str, Any]] = {
    "data": {"share": 1.0, "limit": None, "imbalance": None, "dev_limit": None, "seed": 0},
    "model": {"pairs": "joint", "dropout": 0.1, "max_length": None},
    "tiny": {
        "hidden_size": 96, "num_hidden_layers": 1, "num_attention_heads": 8,
        "intermediate_size": 96, "max_position_embeddings": 128, "initializer_range": 0.1,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    },
    "optimizer": {"betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "fused": True},
    "trainer": {
        "precision": "32-true", "gradient_clip_val": None, "check_val_every_n_epoch": 1,
        "accumulate_grad_batches": 1,
    },
}  # fmt: skip


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
    tasks, trainer = config["tasks"], config["trainer"]
    # In any order tasks are the same.
    words = [] if {*tasks} == {*paper.TITLES} else [f"task=[{','.join(tasks)}]"]
    words += [*_data(config["data"]), *_model(config["model"])]
    # A sweep's jobs have one process each, which sees what several saw together.
    batch = config["batch_size"] * trainer["devices"] * trainer["num_nodes"]
    words += [f"epochs={epochs}", f"batch_size={batch}"]
    if config["group_by_length"] is not None:
        words.append(f"group_by_length={config['group_by_length']}")
    words.append(f"lr={_plain(config['lr'])}")
    words += _others("optimizer", config["optimizer"] or {}, _USUAL["optimizer"])
    schedule = config["scheduler"] or {}
    name = str(schedule.get("name", "constant")).removesuffix("_with_warmup")
    words += [] if name == "constant" else [f"scheduler={name}"]
    words += _others("scheduler", schedule, {"warmup_ratio": _WARMUP.get(name)})
    words += _others("trainer", trainer, _USUAL["trainer"])
    sample = trainer["dev_sample"]
    largest = max(sizes.get("dev", 0) for sizes in run.results.data.sizes.values())
    if sample != _DEV_SAMPLE and largest > min(_DEV_SAMPLE, sample or _DEV_SAMPLE):
        words.append(f"trainer.dev_sample={_plain(sample)}")
    return words


def _data(data: dict[str, Any]) -> list[str]:
    kind = str(data["source"]["_target_"]).rpartition(".")[2]
    name = _SOURCES.get(kind, kind)
    words = [f"data={name}"]
    if name == "cs224n":
        words.append("data.dir=DIR")
    if name == "demo":
        words.append(f"data.scale={_plain(data['scale'])}")
    return words + _others("data", data, _USUAL["data"])


def _model(model: dict[str, Any]) -> list[str]:
    source, usual = model["source"], _USUAL["model"]
    settings = source.get("settings") or {}
    if str(source["_target_"]).endswith(".Tiny"):
        words = ["model=tiny", *_others("model", model, usual | {"dropout": 0.0})]
        return words + _others("model.source.settings", settings, _USUAL["tiny"])
    words = ["model=local", "model.path=DIR"] if source.get("local") else ["model=bert_base"]
    path = str(source.get("path", _BERT))
    if not source.get("local") and path != _BERT:
        words.append(f"model.path={'DIR' if path.startswith('/') else path}")
    words += [f"+model.source.settings.{key}={_plain(value)}" for key, value in settings.items()]
    return words + _others("model", model, usual)


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
