"""Θ': which parameters a phase keeps frozen, by patterns of their names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch.nn import Parameter

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


@contextmanager
def freezing(
    parameters: Mapping[str, Parameter], patterns: Sequence[str]
) -> Iterator[dict[str, Parameter]]:
    """Freeze what the patterns name, for as long as the context lasts.

    Parameters that are frozen already stay so afterwards.

    Yields:
        The parameters that are trained meanwhile, by name.

    Raises:
        FreezeError: a pattern matches no name, or nothing is left to train.
    """
    frozen = frozen_names(patterns, parameters)
    trained = {n: p for n, p in parameters.items() if p.requires_grad and n not in frozen}
    if not trained:
        raise FreezeError(
            f"freeze: expected something left to train, found all {len(parameters)} parameters "
            f"frozen ({list(patterns)} and those with requires_grad=False); "
            "write fewer patterns, or spare some with a leading !"
        )
    switched = [parameters[name] for name in frozen if parameters[name].requires_grad]
    for parameter in switched:
        parameter.requires_grad_(False)
    try:
        yield trained
    finally:
        for parameter in switched:
            parameter.requires_grad_(True)
