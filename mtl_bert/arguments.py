"""Command lines whose values are taken literally, where Hydra's grammar would be in the way."""

import difflib
import sys
from collections.abc import Callable, Sequence

from mtl_bert.errors import UserError, told_in_a_line


class ArgumentError(UserError):
    """A command line that cannot be."""


def run(function: Callable[[dict[str, str]], None], keys: Sequence[str], help_text: str) -> None:
    """Run ``function({key: value, ...})`` on this process's command line.

    A value is everything behind the first ``=``, to the letter. A user's error is one line, and the
    exit code 2.

    Args:
        function: the command.
        keys: that it knows.
        help_text: for ``--help``.
    """
    given = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in given):
        print(help_text.strip())
        return
    with told_in_a_line():
        function(read(given, keys))


def read(arguments: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE arguments as a dictionary.

    Raises:
        ArgumentError: one that is not of that form, not known, or given twice.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ArgumentError(
                f"{argument}: expected KEY=VALUE, found no =; write for example {keys[0]}=VALUE"
            )
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {close[0]}?" if close else "see --help for what there is"
            raise ArgumentError(f"{key}: expected a known key, found {key}; {hint}")
        if key in found:
            raise ArgumentError(f"{key}: expected one value, found two; leave one out")
        found[key] = value
    return found
