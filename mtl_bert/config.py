"""From the command line to checked settings, and from settings to the objects they name.

The entry points, ``cli.py`` and this file are the only ones that know Hydra.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from mtl_bert.identity import run_name
from mtl_bert.sampling import Sampler
from mtl_bert.settings import ConfigError, Settings, explain

if TYPE_CHECKING:
    from mtl_bert.data import Corpus, Source
    from mtl_bert.data.selection import Selection
    from mtl_bert.model import EncoderSource
    from mtl_bert.surgery import Surgery
    from mtl_bert.tasks import Task

PACKAGE = Path(__file__).parent
CONF = next(place for place in (PACKAGE / "conf", PACKAGE.parent / "conf") if place.is_dir())
"""The configuration: inside an installed package, beside it in a checkout."""

# A run's configuration names files so that the run can be read again from anywhere.
OmegaConf.register_new_resolver("absolute", lambda path: path and str(Path(path).absolute()))

OmegaConf.register_new_resolver("either", lambda first, second: first or second)

OmegaConf.register_new_resolver("run_name", lambda *, _root_: _run_name(_root_))

# Top-level keys and the sampler's own fields for them; None where every sampler leaves it unset.
SAMPLER_KEYS = {"batch_size": "batch_size", "B": "B", "lambda": "lambda_", "freeze": "freeze"}
UNSET = {"B": None, "lambda": None, "freeze": "none"}

# Keys of the command line that say where settings come from or what becomes of a sweep.
NO_SETTINGS = ("resume", "fail_fast")


def read_settings(config: DictConfig | Mapping[str, Any]) -> Settings:
    """Check a composed configuration.

    Raises:
        ConfigError: a value that is wrong, unknown, or not used by the chosen sampler.
    """
    try:
        plain: Any = (
            OmegaConf.to_container(config, resolve=True)
            if isinstance(config, DictConfig)
            else dict(config)
        )
        for key in NO_SETTINGS:
            plain.pop(key, None)
        settings = Settings.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    _check_sampler_keys(settings)
    return settings


def read_job_settings(config: DictConfig) -> tuple[Settings, list[str]]:
    """Check one job of a sweep, leaving out what its sampler does not use.

    A grid over samplers and λ has jobs whose sampler knows no λ; all of those are the same run.

    Returns:
        The settings, and the keys that were left out.

    Raises:
        ConfigError: as ``read_settings``.
    """
    try:
        plain: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    sampler = plain["sampler"]
    unused = [
        key
        for key, unset in UNSET.items()
        if SAMPLER_KEYS[key] not in sampler and plain[key] != unset
    ]
    return read_settings(plain | {key: UNSET[key] for key in unused}), unused


def _run_name(root: DictConfig) -> str:
    """The directory of a sweep's job, seen from Hydra's part of the configuration."""
    config = OmegaConf.masked_copy(root, [str(key) for key in root if key != "hydra"])
    try:
        return run_name(read_job_settings(config)[0])
    except ConfigError:
        return "refused"  # the job itself says why


def settings_yaml(settings: Settings) -> str:
    """Settings as a run's directory keeps them."""
    return OmegaConf.to_yaml(settings.plain())


def saved_settings(path: Path, changes: Mapping[str, Any] | None = None) -> Settings:
    """The settings that a run's directory keeps.

    Args:
        path: of its config.yaml.
        changes: settings, by their dotted names, that are others now.

    Raises:
        ConfigError: a file that does not hold settings.
    """
    try:
        saved = OmegaConf.load(path)
        if not isinstance(saved, DictConfig):
            raise ValueError("no names")
    except Exception as error:  # a damaged file fails in as many ways as there are bytes
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"{path}: expected the settings of a run, found something else ({first}); "
            "write another directory"
        ) from error
    for key, value in (changes or {}).items():
        OmegaConf.update(saved, key, value)
    return read_settings(saved)


def known_tasks() -> dict[str, Any]:
    """What conf/task says of each of its tasks; settings of one's own are not among them."""
    paths = sorted((CONF / "task").glob("*.yaml"))
    return {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in paths}


def _check_sampler_keys(settings: Settings) -> None:
    """Refuse a value that the sampler does not use, and one that it contradicts."""
    values, name = settings.plain(), sampler_name(settings)
    for key, field in SAMPLER_KEYS.items():
        value = values[key]
        if field in settings.sampler:
            own = settings.sampler[field]
            if own != value:
                raise ConfigError(
                    f"sampler.{field}: expected the run's {key}, which is {value}, found {own}; "
                    f"write {key}={own}"
                )
        elif key in UNSET and value != UNSET[key]:
            raise ConfigError(
                f"{key}: expected no value with sampler={name}, which does not use it, found "
                f"{key}={value}; leave {key} out or write sampler=arrp"
            )


def sampler_name(settings: Settings) -> str:
    """The name by which people choose the sampler."""
    return str(settings.sampler["name"])


def make(node: Any) -> Any:
    """Make the object that a node's ``_target_`` names.

    Raises:
        ConfigError: the target refuses its settings.
    """
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            raise ConfigError(str(cause)) from cause
        if isinstance(cause, TypeError):  # a setting that the target does not have
            raise ConfigError(
                f"{node['_target_']}: expected its own settings, found others ({cause}); "
                "--cfg job shows them"
            ) from cause
        _explain_missing_torchjd(error)
        unknown = re.search(r"Error locating target '([^']+)'", str(error))
        if unknown:
            raise ConfigError(
                f"_target_: expected something that can be imported, found {unknown.group(1)}; "
                "mend the file that names it"
            ) from error
        if cause is not None:
            raise cause from None
        raise ConfigError(str(error).splitlines()[0]) from error


def _explain_missing_torchjd(error: BaseException) -> None:
    """Raise ConfigError if ``error`` comes from the absence of TorchJD or of its solvers."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ImportError) and "torchjd" in str(cause):
        raise ConfigError(
            f"surgery: expected TorchJD with its solvers, found something missing ({cause}); "
            "write pip install 'mtl-bert[torchjd]', or surgery=pcgrad"
        ) from None


def make_sampler(settings: Settings) -> Sampler:
    """The sampler, its Θ' resolved to patterns, its batches those of all processes together."""
    node = {key: value for key, value in settings.sampler.items() if key != "name"}
    if "freeze" in node:
        node["freeze"] = list(settings.frozen)
    if "batch_size" in node:
        node["batch_size"] = settings.step_size
    if node.get("B") is not None:
        node["B"] = settings.drawn
    sampler: Sampler = make(node)
    return sampler


def make_surgery(settings: Settings) -> "Surgery":
    """The surgery, its method's settings for tasks being for tasks that are there."""
    surgery: Surgery = make(settings.surgery)
    try:
        surgery.method.check_tasks(list(settings.tasks))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return surgery


def make_tasks(settings: Settings) -> "list[Task]":
    """The tasks, in the order in which they are configured."""
    return [
        make({"_target_": "mtl_bert.tasks.Task", "name": name, **node})
        for name, node in settings.tasks.items()
    ]


def read_corpus(settings: Settings, tasks: "Sequence[Task]", splits: Sequence[str]) -> "Corpus":
    """The tasks' tables, whole.

    Raises:
        DataError, HubError: data that cannot be had or used.
    """
    from mtl_bert.data import load  # torch takes seconds to import

    return load(make_data_source(settings), tasks, settings.data.max_bad_share, splits)


def make_selections(settings: Settings) -> "dict[str, Selection]":
    """What is kept of each split."""
    from mtl_bert.data.selection import Selection

    data = settings.data
    return {
        "train": Selection(data.share, data.limit, data.imbalance, data.seed),
        "dev": Selection(limit=data.dev_limit, seed=data.seed, setting="data.dev_limit"),
    }


def make_data_source(settings: Settings) -> "Source":
    """Where the tasks' tables come from."""
    source: Source = make(settings.data.source)
    return source


def make_encoder_source(settings: Settings) -> "EncoderSource":
    """Where the encoder comes from."""
    source: EncoderSource = make(settings.model.source)
    return source
