"""The command that would make a run of the same setting: a run's own, with another method."""

import re
import shlex

from mtl_bert.analysis.studies import Study

LEAST_SEEDS = (1, 2, 3)  # a spread needs more than one
_OWN = (
    "seed", "epochs", "sampler", "B", "B_scale", "lambda", "freeze", "surgery", "experiment",
    "hydra", "logger",
)  # fmt: skip
"""What the command says itself, or what no number depends on."""


def fill(study: Study, table: int, experiment: str, epochs: int) -> str:
    """The command for a row of the paper that a study lacks."""
    scales = {g.method.B_scale for g in study.groups if g.method.B is not None}
    scaled = [f"B_scale={scale:g}" for scale in scales if len(scales) == 1 and scale != 1]
    return _command(study, f"+experiment/table{table}={experiment}", epochs, *scaled)


def independent(study: Study, epochs: int) -> str:
    """The command for the single-task models that a study lacks."""
    return _command(study, "sampler=single", epochs)


def _command(study: Study, choice: str, epochs: int, *more: str) -> str:
    """The words that made a run of the study, less those that choose a method.

    Where no run recorded its words, the command says where to find what it must set.
    """
    seeds = sorted({run.results.seed for run in study.runs} | set(LEAST_SEEDS))
    head = ["mtl-bert", "train", "-m", choice, f"seed={','.join(map(str, seeds))}"]
    head += [f"epochs={epochs}", *more]
    recorded = [run.results for run in study.runs if run.results.overrides is not None]
    if not recorded:
        return f"{shlex.join(head)}  # and the settings that Provenance lists: none are recorded"
    words = [word for word in recorded[0].overrides or () if _key(word) not in _OWN]
    trainer = recorded[0].config["trainer"]
    if (processes := trainer["devices"] * trainer["num_nodes"]) > 1:
        # A sweep's jobs have one process each, which sees what several saw together.
        own = ("batch_size", "trainer.devices", "trainer.num_nodes")
        words = [word for word in words if word.partition("=")[0] not in own]
        words.append(f"batch_size={recorded[0].config['batch_size'] * processes}")
    # Where things lie is the reader's to say, and nobody else's business.
    return shlex.join([*head, *(re.sub(r"=/.*", "=DIR", word) for word in words)])


def _key(word: str) -> str:
    """The setting or group that a word is about."""
    return re.split(r"[=./@]", word.lstrip("+~"), maxsplit=1)[0]
