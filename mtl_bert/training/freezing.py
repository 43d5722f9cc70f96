"""Whether a freeze set leaves every task something to train."""

from collections.abc import Iterable, Sequence

from mtl_bert.surgery.freezing import FreezeError, frozen_names


def check_trainable(patterns: Sequence[str], names: Iterable[str], tasks: Iterable[str]) -> None:
    """Raise FreezeError if ``patterns`` leave some of ``tasks`` nothing to train.

    A task reaches the shared encoder, or its own, and its own head.
    """
    names = list(names)
    frozen = frozen_names(patterns, names)
    for task in tasks:
        own = ("encoder.", f"encoders.{task}.", f"heads.{task}.")
        reached = [name for name in names if name.startswith(own)]
        if all(name in frozen for name in reached):
            raise FreezeError(
                f"freeze: expected something left to train for {task}, found all "
                f"{len(reached)} of its parameters frozen by {list(patterns)}; write "
                "freeze=all_but_head to keep the head"
            )
