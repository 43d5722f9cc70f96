"""What ``train`` and ``plan`` share: Hydra around a function of the settings, short messages."""

import difflib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import hydra
from hydra import initialize_config_dir, version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mtl_bert.config.compose import (
    CONF,
    NO_SETTINGS,
    NODES,
    made_by,
    own_part,
    read_job_settings,
    read_settings,
)
from mtl_bert.config.reference import help_text
from mtl_bert.config.saved import callables, saved_settings
from mtl_bert.config.settings import ConfigError, Settings, described, unknown_setting
from mtl_bert.utils.errors import FULL_ERROR, REFUSED, UserError, say, told_in_a_line

# What --help says of the settings.
OmegaConf.register_new_resolver("described_settings", lambda: help_text())


@dataclass(frozen=True)
class Composed:
    """What Hydra has made of a command line, or of one job of a sweep (``-m``).

    Attributes:
        config: the settings, unchecked.
        directory: where the output goes.
        overrides: the KEY=VALUE that were given, without those of Hydra's own part.
        in_sweep: one of several jobs.
    """

    config: DictConfig
    directory: Path
    overrides: Sequence[str]
    in_sweep: bool = False

    def run(self, saved_as: str) -> tuple[Settings, Path]:
        """The settings and the folder of a new run, or of the one that ``resume`` names.

        Args:
            saved_as: the name of the file in a run's folder that keeps its settings.

        Raises:
            ConfigError: no run is there to go on with, or settings that are wrong.
        """
        config = self.config
        if config.resume is None:
            return made_by(read_settings(config), self.overrides), self.directory
        directory = Path(str(config.resume))
        path = directory / saved_as
        if not path.is_file():
            raise ConfigError(
                f"resume: expected the directory of a run, found no {saved_as} in {directory}; "
                "write resume=DIR"
            )
        named = callables(OmegaConf.to_container(config))
        before = saved_settings(path, named=named, trust=config.trust and str(config.trust))
        saved = OmegaConf.create(before.config())  # without a command line, whose ${} is quoted
        anew = [o for o in self.overrides if not o.startswith(("resume=", "trust="))]
        for override in anew:
            key = override.lstrip("+~").partition("=")[0].partition("@")[0]
            node = NODES.get(key, key)
            OmegaConf.update(saved, node, OmegaConf.select(config, node), force_add=True)
        # Another sampler is refused for its name, not for what is left of the old one's settings.
        chosen = any(override.startswith("sampler=") for override in anew)
        settings = read_job_settings(saved)[0] if chosen else read_settings(saved)
        return made_by(settings, [*(before.overrides or ()), *anew]), directory


def run(
    config_name: str, function: Callable[[Composed], object], arguments: Sequence[str] | None = None
) -> None:
    """Run ``function(composed)`` under Hydra; exit with code 2 on a user's error.

    Args:
        config_name: the primary configuration.
        function: carries a job out; Hydra's sweepers see what it returns.
        arguments: Hydra's command line; None takes this process's. Flags may stand anywhere.
    """
    wants_traceback = os.environ.get(FULL_ERROR) == "1"
    began = time.time()
    refused: list[Exception] = []

    def job(config: DictConfig) -> object:
        runtime = HydraConfig.get()
        directory = Path(runtime.runtime.output_dir)
        in_sweep = runtime.mode == RunMode.MULTIRUN
        try:
            overrides = tuple(runtime.overrides.task)
            return function(Composed(config, directory, overrides, in_sweep))
        except Exception as error:
            shown = isinstance(error, UserError) and not wants_traceback
            if shown or in_sweep:  # Hydra itself reports only at the sweep's end
                lead = f"job {runtime.job.num} failed: " if in_sweep else ""
                say(f"{lead}{error}", sys.stderr)
            if not shown:
                raise
            _remove_empty(directory, began)
            if in_sweep:  # perhaps in another process: the launcher has to see it fail
                raise HydraException(str(error)) from None
            refused.append(error)  # raised, it would make Hydra print all overrides
            return None

    version.setbase("1.3")
    with told_in_a_line(), _full_errors():
        parser = get_args_parser()
        parser.error = _refuse  # type: ignore[method-assign]
        # Hydra's own reading of the command line refuses a flag between two overrides.
        read = parser.parse_intermixed_args(arguments)
        if read.experimental_rerun is not None:
            _refuse("--experimental-rerun")
        try:
            _run_hydra(read, parser, job, str(CONF), config_name)
        except (HydraException, OmegaConfBaseException) as error:
            if wants_traceback:
                raise
            raise explained(error) from error
    if refused:
        sys.exit(REFUSED)


def compose(
    config_name: str, overrides: Sequence[str], directory: str | Path | None = None
) -> Composed:
    """What the command line of these words gives, for programs that have none.

    Args:
        config_name: the primary configuration.
        overrides: KEY=VALUE each.
        directory: where the output goes; None is what the configuration says.

    Raises:
        UserError: words that are wrong.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            whole = hydra.compose(config_name, list(overrides), return_hydra_config=True)
            return Composed(
                own_part(whole),
                Path(directory or whole.hydra.run.dir),
                tuple(whole.hydra.overrides.task),
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise explained(error) from error


@contextmanager
def _full_errors() -> Iterator[None]:
    """Have Hydra leave the wording of its errors to us."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before


def _refuse(message: str) -> NoReturn:
    """What argparse says of Hydra's flags, in a line."""
    raise UserError(
        f"command line: expected KEY=VALUE and Hydra's flags, found others ({message}); see --help"
    )


def explained(error: Exception) -> UserError:
    """Put what Hydra says about a command line into one line of our form."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown and "is not in struct" in f"{text} {error.__cause__}":
        settings = (setting.key for setting in described())
        key, known = unknown[1], [*NO_SETTINGS, *settings, "plan.sizes", "plan.out"]
        if key in known:
            text = f"{key}: expected no value, found one for what was not chosen; leave it out"
        else:
            text = unknown_setting(key, known)
    choice = re.search(r"Could not (?:find|load) '([\w/]+)/([^'/]+)'", text)
    if choice and (CONF / choice[1]).is_dir():
        there = sorted(path.stem for path in (CONF / choice[1]).glob("*.yaml"))
        close = difflib.get_close_matches(choice[2], there, n=1)
        hint = f"did you mean {close[0]}?" if close else "see --help for what there is"
        text = f"{choice[1]}: expected one of {', '.join(there)}, found {choice[2]!r}; {hint}"
    return UserError(text)


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
