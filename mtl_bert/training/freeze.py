"""Θ': which parameters a phase keeps frozen, by patterns of their names."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


class FreezeError(Exception):
    """Patterns that match nothing, or leave nothing to train."""


def frozen_names(patterns: Sequence[str], names: Iterable[str]) -> frozenset[str]:
    """The names that the patterns freeze.

    Patterns are read in order and the last that matches a name decides; a leading ``!`` spares.

    Raises:
        FreezeError: a pattern matches no name, or all names are frozen.
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
    if len(frozen) == len(names):
        raise FreezeError(
            f"freeze: expected something left to train, found all {len(names)} parameters frozen "
            f"by {list(patterns)}; write freeze=all_but_head to keep the task's head"
        )
    return frozenset(frozen)
