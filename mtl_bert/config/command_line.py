"""What the entry points share: Hydra around a function of the settings, and short messages."""

import difflib
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mtl_bert.config.compose import CONF
from mtl_bert.config.settings import unknown_setting
from mtl_bert.utils.errors import UserError, told_in_a_line
from mtl_bert.utils.validation import SamplerError


class ArgumentError(UserError):
    """A command line that cannot be."""


def run_key_values(
    function: Callable[[dict[str, str]], None], keys: Sequence[str], help_text: str
) -> None:
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


FULL_ERROR = "HYDRA_FULL_ERROR"


class JobRefusedError(HydraException):
    """A job of a sweep that a user's error ended: the sweep goes on and then fails."""


def run(
    config_name: str, function: Callable[[DictConfig, Path], object], keys: Sequence[str] = ()
) -> None:
    """Run ``function(config, directory)`` under Hydra; exit with code 2 on a user's error.

    Args:
        config_name: the primary configuration.
        function: gets the composed configuration and the job's output directory; Hydra's sweepers
            see what it returns.
        keys: the settings there are, for hints about misspelt ones.
    """
    before = os.environ.get(FULL_ERROR)
    wants_traceback = before == "1"
    began = time.time()
    refused: list[Exception] = []

    def job(config: DictConfig) -> object:
        runtime = HydraConfig.get()
        directory = Path(runtime.runtime.output_dir)
        in_sweep = runtime.mode == RunMode.MULTIRUN
        try:
            return function(config, directory)
        except Exception as error:
            shown = isinstance(error, UserError | SamplerError) and not wants_traceback
            if shown or in_sweep:  # Hydra itself reports only at the sweep's end
                lead = f"job {runtime.job.num} failed: " if in_sweep else ""
                sys.stderr.write(f"{lead}{error}\n")
            if not shown:
                raise
            _remove_empty(directory, began)
            if in_sweep:  # perhaps in another process: the launcher has to see it fail
                raise JobRefusedError(str(error)) from None
            refused.append(error)  # raised, it would make Hydra print all overrides
            return None

    os.environ[FULL_ERROR] = "1"  # so that Hydra leaves the wording of its errors to us
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        sys.stderr.write(f"{_message(error, keys)}\n")
        sys.exit(2)
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before
    if refused:
        sys.exit(2)


def _message(error: Exception, known: Sequence[str]) -> str:
    """Put what Hydra says about a command line into one line of our form."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown and "is not in struct" in f"{text} {error.__cause__}":
        key = unknown.group(1)
        if key in known:
            return f"{key}: expected no value, found one for what was not chosen; leave it out"
        return unknown_setting(key, known)
    choice = re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]+)'", text)
    if choice and (CONF / choice.group(1)).is_dir():
        group, found = choice.groups()
        there = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return (
            f"{group}: expected one of {', '.join(there)}, found {found!r}; {_hint(found, there)}"
        )
    return text


def _hint(found: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(found, known, n=1)
    return f"did you mean {close[0]}?" if close else "see --help for what there is"


def _remove_empty(directory: Path, began: float) -> None:
    """Remove a job's directory if it is empty and Hydra's: a user's own empty ones stay.

    Hydra's did not exist when the program began, and lie under ``runs`` where nobody chose.
    """
    runs = Path.cwd() / "runs"
    with suppress(OSError):
        if directory.stat().st_ctime < began:
            return
        directory.rmdir()
        for place in directory.parents:
            if runs not in (place, *place.parents):
                return
            place.rmdir()
