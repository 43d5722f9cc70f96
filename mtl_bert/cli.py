"""What the entry points share: Hydra around a function of the settings, and short messages."""

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mtl_bert.config import CONF, ConfigError, setting_names

log = logging.getLogger(__name__)

FULL_ERROR = "HYDRA_FULL_ERROR"


class UserError(HydraException):
    """Something that the user can mend: it is shown as its message, without a traceback."""


def user_errors() -> tuple[type[Exception], ...]:
    """The errors whose message is all that a user needs. Imported late: some need torch."""
    errors: list[type[Exception]] = [ConfigError]
    for module, name in (
        ("mtl_bert.data.table", "DataError"),
        ("mtl_bert.hub", "HubError"),
        ("mtl_bert.model.encoder", "ModelError"),
        ("mtl_bert.surgery.matrix", "NonFiniteGradientError"),
        ("mtl_bert.training.freeze", "FreezeError"),
    ):
        if module in sys.modules:  # what was never imported was never raised
            errors.append(getattr(sys.modules[module], name))
    return tuple(errors)


def run(config_name: str, function: Callable[[DictConfig, Path], None]) -> None:
    """Run ``function(config, directory)`` under Hydra; exit with code 2 on a user's error.

    Args:
        config_name: the primary configuration.
        function: gets the composed configuration and the job's output directory.
    """

    def job(config: DictConfig) -> None:
        runtime = HydraConfig.get()
        directory = Path(runtime.runtime.output_dir)
        try:
            function(config, directory)
        except Exception as error:
            if runtime.mode == RunMode.MULTIRUN:  # Hydra itself reports only at the sweep's end
                log.error("job %s failed: %s", runtime.job.num, error)
            if not isinstance(error, user_errors()):
                raise
            _remove_empty(directory)
            raise UserError(str(error)) from error

    wants_traceback = os.environ.get(FULL_ERROR) == "1"
    os.environ[FULL_ERROR] = "1"  # so that Hydra leaves the wording of its errors to us
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        sys.stderr.write(f"{_message(error)}\n")
        sys.exit(2)


def _message(error: Exception) -> str:
    """Put what Hydra says about a command line into one line of our form."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown and "is not in struct" in f"{text} {error.__cause__}":
        key = unknown.group(1)
        return f"{key}: expected a known setting, found {key}; {_hint(key, setting_names())}"
    choice = re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]+)'", text)
    if choice and (CONF / choice.group(1)).is_dir():
        group, found = choice.groups()
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return (
            f"{group}: expected one of {', '.join(known)}, found {found!r}; {_hint(found, known)}"
        )
    return text


def _hint(found: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(found, known, n=1)
    return f"did you mean {close[0]}?" if close else "see --help for what there is"


def _remove_empty(directory: Path) -> None:
    """Remove a job's directory and the ones above it that Hydra made, as far as they are empty."""
    with suppress(OSError):
        for place in (directory, *directory.parents[:2]):
            place.rmdir()
