"""From a composed configuration to checked settings."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from secrets import token_hex
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from mtl_bert.config.run_key import run_name
from mtl_bert.config.settings import (
    ConfigError,
    Settings,
    TaskSettings,
    explain,
    settings_of,
    shown,
)
from mtl_bert.utils.errors import first_line

PACKAGE = Path(__file__).parents[1]
CONF = next(place for place in (PACKAGE / "conf", PACKAGE.parent / "conf") if place.is_dir())
"""The configuration: inside an installed package, beside it in a checkout."""

PLACES = [CONF]
"""Where choices are looked for: a user's own directories (``--config-dir``) come first."""

# What a setting is if nobody says is declared in one place: conf begins with it, below settings/.
for _group in ("", "data", "model", "trainer"):
    _node = {name: s.default for name, s in settings_of(_group).items() if not s.only_with}
    ConfigStore.instance().store(_group or "run", _node, "settings")

# Nobody changes the store, and Hydra would copy it for each of the 70 groups that --help looks at.
ConfigStore.__deepcopy__ = lambda self, _: self  # type: ignore[attr-defined]

# A run's configuration names files so that the run can be read again from anywhere.
OmegaConf.register_new_resolver("absolute", lambda path: path and str(Path(str(path)).absolute()))

# What is in no other run's name; the same wherever one configuration is asked for it.
OmegaConf.register_new_resolver("unique", lambda: token_hex(4), use_cache=True)

OWN = "tasks' batch_size"
SAMPLER_KEYS = {
    "batch_size": "batch_size", "B": "B", "lambda": "lambda_", "freeze": "freeze",
    OWN: "batch_sizes",
}  # fmt: skip
"""Settings of the run that a sampler may take -> its own arguments for them."""

UNSET = {"B": None, "B_scale": 1.0, "lambda": None, "freeze": "none"}
"""What these settings are where the sampler makes nothing of them."""

NO_SETTINGS = {
    "resume": "Directory of a run to go on with.",
    "trust": "That directory again, where its configuration may call others' code.",
    "fail_fast": "Whether a job that fails keeps a sweep (-m) from starting more.",
}
"""Keys of the command line that are about the command and not about the run."""

NODES = {"task": "tasks"}
"""Where what a group gives stands, if not under the group's name."""


def own_part(config: DictConfig) -> DictConfig:
    """A composed configuration without Hydra's own part."""
    if "hydra" not in config:
        return config
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def read_settings(config: DictConfig | Mapping[str, Any]) -> Settings:
    """Check a composed configuration; a wrong, unknown or unused value raises ConfigError."""
    settings = _checked(config)
    for key in unused_settings(settings):
        sampler, value = settings.sampler["name"], settings.plain()[key]
        why, instead = f"with sampler={sampler}, which does not use it", "sampler=arrp"
        if key == "B_scale":
            why, instead = "without B", "B=24000"
        raise ConfigError(
            f"{key}: expected no value {why}, found {key}={value}; leave {key} out or write "
            f"{instead}"
        )
    return settings


def made_by(settings: Settings, overrides: Sequence[str], left_out: Sequence[str] = ()) -> Settings:
    """The same settings, with a note of the command line that they come from, less ``left_out``."""
    told = [word for word in overrides if word.partition("=")[0] not in (*NO_SETTINGS, *left_out)]
    return settings.model_copy(update={"overrides": told})


def read_job_settings(config: DictConfig | Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """The checked settings of a sweep's job, and the keys that were left out of them.

    A grid over samplers and λ has jobs whose sampler knows no λ; all of those are the same run.
    """
    settings = _checked(config)
    unused = unused_settings(settings)
    return _checked(settings.plain() | {key: UNSET[key] for key in unused}), unused


def _checked(config: DictConfig | Mapping[str, Any]) -> Settings:
    """The settings of a configuration, each of a value that it may have."""
    plain: Any = config
    if isinstance(config, DictConfig):
        try:
            plain = OmegaConf.to_container(own_part(config), resolve=True)
        except OmegaConfBaseException as error:
            raise ConfigError(
                f"{error.full_key or 'settings'}: expected a value that can be had, found none "
                f"({first_line(error)}); write the value itself"
            ) from None
    about_the_command = (*NO_SETTINGS, "plan")
    try:
        settings = Settings.model_validate(
            {key: value for key, value in plain.items() if key not in about_the_command}
        )
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    for name in settings.tasks:
        _ = task_settings(settings, name)
    for key, argument in SAMPLER_KEYS.items():
        if argument in settings.sampler:
            own = settings.sampler[argument]
            raise ConfigError(
                f"sampler.{argument}: expected no value, as the sampler takes the run's {key}, "
                f"found {own}; write {'tasks.TASK.batch_size' if key == OWN else key}={own}"
            )
    return settings


def task_settings(settings: Settings, name: str) -> TaskSettings:
    """What any task may have besides what it is, of one of them."""
    node = settings.tasks[name]
    given = {key: node[key] for key in TaskSettings.model_fields if key in node}
    if given.keys() == node.keys():
        raise ConfigError(
            f"tasks.{name}: expected a task that is chosen, found settings of one that is not; "
            f"write task=[{','.join(key for key in settings.tasks if key != name)},{name}]"
        )
    try:
        return TaskSettings.model_validate(given)
    except ValidationError as error:
        raise ConfigError(explain(error, TaskSettings, f"tasks.{name}")) from None


def unused_settings(settings: Settings) -> list[str]:
    """The keys that have values of which the run makes nothing."""
    used = sampler_keys(settings.sampler)
    if "B" in used and settings.B is not None:
        used.append("B_scale")
    plain = settings.plain()
    return [key for key, unset in UNSET.items() if key not in used and plain[key] != unset]


def run_name_in(*, _root_: DictConfig) -> str:
    """The directory of a sweep's job, for Hydra's part of the configuration."""
    try:
        return run_name(read_job_settings(_root_)[0])
    except ConfigError:
        return "refused"  # the job itself says why


OmegaConf.register_new_resolver("run_name", run_name_in)


def settings_yaml(settings: Settings) -> str:
    """Settings as a run's directory keeps them."""
    return OmegaConf.to_yaml(settings.plain())


def place(key: str, value: object) -> Path:
    """The directory or file that a setting names; an empty name would be where one works."""
    if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
        return Path(str(value))
    raise ConfigError(
        f"{key}: expected the name of a place, found {'nothing' if value == '' else shown(value)}; "
        f"write {key}=DIR"
    )


def command_keys(config: DictConfig) -> Path | None:
    """Check the settings that are about the command; the folder of a run to go on with."""
    if not isinstance(config.fail_fast, bool):
        raise ConfigError(
            f"fail_fast: expected true or false, found {shown(config.fail_fast)}; "
            "write fail_fast=true"
        )
    try:
        return None if config.resume is None else place("resume", config.resume)
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"resume: expected the directory of a run, found none ({first_line(error)}); "
            "write for example resume=runs/2026-01-31/12-00-00-arrp-seed1"
        ) from None


def known_tasks() -> dict[str, Any]:
    """What conf/task says of each of its tasks; settings of one's own are not among them."""
    paths = sorted((CONF / "task").glob("*.yaml"))
    return {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in paths}


def sampler_keys(sampler: Mapping[str, Any]) -> list[str]:
    """The settings of the run that a sampler takes, as the arguments of its callable tell."""
    target = str(sampler.get("_target_"))
    try:
        arguments = inspect.signature(resolve_name(target)).parameters
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"sampler._target_: expected something that can be imported and called, found "
            f"{target}; mend the file that names it"
        ) from error
    return [key for key, argument in SAMPLER_KEYS.items() if argument in arguments]
