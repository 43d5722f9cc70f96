from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from mtl_bert.model import MultiTaskModel
from mtl_bert.sampling import Epoch, Phase, Step
from mtl_bert.surgery.freezing import FreezeError, frozen_names
from mtl_bert.training.build import check_freezing

NAMES = ["encoder.embeddings.weight", "encoder.layer.0.weight", "heads.a.weight", "heads.b.weight"]


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        ([], set()),
        (["encoder.*"], set(NAMES[:2])),
        (["*", "!heads.a.*"], {*NAMES[:2], NAMES[3]}),
        (["encoder.*", "!encoder.layer.*", "encoder.layer.0.*"], set(NAMES[:2])),
        (["encoder.layer.[0-5].*"], {NAMES[1]}),
    ],
)
def test_the_last_pattern_that_matches_decides(patterns: list[str], frozen: set[str]) -> None:
    assert frozen_names(patterns, NAMES) == frozen


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["nope"], "found 'nope', which matches none of 4"),
        (["*", "!heads.c.*"], "found '!heads.c.*', which matches none"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(patterns: list[str], found: str) -> None:
    with pytest.raises(FreezeError) as refused:
        frozen_names(patterns, NAMES)
    message = str(refused.value)
    assert message.startswith("freeze: expected ")
    assert found in message
    assert "; write " in message


def check(patterns: list[str], names: list[str], tasks: list[str]) -> None:
    """Freeze parameters of such names in a phase that has these tasks."""
    rows = {task: np.arange(1) for task in tasks}
    plan = Epoch(1, (Step(Phase("finetune", frozen=tuple(patterns)), rows),))
    datamodule: Any = SimpleNamespace(sizes=dict.fromkeys(tasks, 1), plan=lambda _: plan)
    parameters = {name: Parameter(torch.ones(1)) for name in names}
    model: Any = SimpleNamespace(
        named_parameters=parameters.items, reaches=partial(MultiTaskModel.reaches, None)
    )
    check_freezing(patterns, datamodule, model)


@pytest.mark.parametrize(
    ("patterns", "tasks"),
    [(["*"], ["a"]), (["encoder.*", "heads.a.*"], ["a"]), (["encoder.*", "heads.b.*"], ["a", "b"])],
)
def test_a_phase_must_have_something_to_train(patterns: list[str], tasks: list[str]) -> None:
    with pytest.raises(FreezeError, match="freeze: expected something left to train for"):
        check(patterns, NAMES, tasks)


def test_a_tasks_own_head_or_encoder_is_enough() -> None:
    check(["*", "!heads.a.*"], NAMES, ["a"])
    check(["encoder.*", "heads.b.*"], NAMES, ["a"])
    own = ["encoders.a.weight", "encoders.b.weight", "heads.a.weight", "heads.b.weight"]
    check(["heads.*", "encoders.b.*"], own, ["a"])
    with pytest.raises(FreezeError, match="for b"):
        check(["heads.*", "encoders.b.*"], own, ["a", "b"])
