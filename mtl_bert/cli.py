"""What the entry points share: Hydra around a function of the settings, and short messages."""

import difflib
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

FULL_ERROR = "HYDRA_FULL_ERROR"


def user_errors() -> tuple[type[Exception], ...]:
    """The errors whose message is all that a user needs. Imported late: some need torch."""
    errors: list[type[Exception]] = [ConfigError]
    for module, name in (
        ("mtl_bert.data.table", "DataError"),
        ("mtl_bert.hub", "HubError"),
        ("mtl_bert.model.encoder", "ModelError"),
        ("mtl_bert.sampling.checks", "SamplerError"),
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

    before = os.environ.get(FULL_ERROR)
    wants_traceback = before == "1"
    refused: list[Exception] = []

    def job(config: DictConfig) -> None:
        runtime = HydraConfig.get()
        directory = Path(runtime.runtime.output_dir)
        in_sweep = runtime.mode == RunMode.MULTIRUN
        try:
            function(config, directory)
        except Exception as error:
            shown = isinstance(error, user_errors()) and not wants_traceback
            if shown or in_sweep:  # Hydra itself reports only at the sweep's end
                lead = f"job {runtime.job.num} failed: " if in_sweep else ""
                sys.stderr.write(f"{lead}{error}\n")
            if not shown:
                raise
            _remove_empty(directory)
            refused.append(error)  # raised, it would make Hydra print all overrides again

    os.environ[FULL_ERROR] = "1"  # so that Hydra leaves the wording of its errors to us
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        sys.stderr.write(f"{_message(error)}\n")
        sys.exit(2)
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before
    if refused:
        sys.exit(2)


def _message(error: Exception) -> str:
    """Put what Hydra says about a command line into one line of our form."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown and "is not in struct" in f"{text} {error.__cause__}":
        key, known = unknown.group(1), setting_names()
        if key in known:
            return f"{key}: expected no value, found one for what was not chosen; leave it out"
        return f"{key}: expected a known setting, found {key}; {_hint(key, known)}"
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
    here, directory = Path.cwd(), directory.resolve()
    with suppress(OSError):
        for place in (directory, *directory.parents[:2]):
            if place == here or place in here.parents:  # evaluate and plan work in place
                return
            place.rmdir()
