"""Θ': which parameters a phase keeps frozen, by patterns of their names."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from mtl_bert.utils.errors import UserError


class FreezeError(UserError):
    """Patterns that match nothing, or leave nothing to train."""


def frozen_names(patterns: Sequence[str], names: Iterable[str]) -> frozenset[str]:
    """The names that the patterns freeze.

    Patterns are read in order and the last that matches a name decides; a leading ``!`` spares.

    Raises:
        FreezeError: a pattern matches no name.
    """
    names = list(names)
    frozen: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern.removeprefix("!"))}
        if not matched:
            raise FreezeError(
                f"freeze: expected patterns of parameter names, found {pattern!r}, which matches "
                f"none of {len(names)} (the first is {names[0]}, the last {names[-1]}); write for "
                "example freeze=['encoder.embeddings.*']"
            )
        frozen = frozen - matched if pattern.startswith("!") else frozen | matched
    return frozenset(frozen)


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
