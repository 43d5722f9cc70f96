"""From the command line to checked settings, and from settings to the objects they name.

The entry points and this file are the only ones that know Hydra. Values that people set at the
top level are checked here, so that all messages look alike; each object checks its own settings
when it is made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtl_bert.sampling import Sampler

if TYPE_CHECKING:
    from mtl_bert.data import Corpus
    from mtl_bert.model import EncoderSource
    from mtl_bert.surgery import Surgery
    from mtl_bert.tasks import Task

PACKAGE = Path(__file__).parent
CONF = next(place for place in (PACKAGE / "conf", PACKAGE.parent / "conf") if place.is_dir())
"""The configuration: inside an installed package, beside it in a checkout."""


class ConfigError(Exception):
    """A setting that cannot be: one line that says what was expected, found, and to write."""


def _setting(expected: str, example: str, **checks: Any) -> Any:
    return Field(description=expected, examples=[example], **checks)


Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Node = dict[str, Any]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DataSettings(_Settings):
    """Where examples come from."""

    source: Node
    max_bad_share: Annotated[Number, Field(le=1)] = _setting(
        "a share of rows from 0 to 1", "data.max_bad_share=0.01"
    )
    share: Annotated[Number, Field(gt=0, le=1)] = _setting(
        "a share above 0, up to 1, of every training set", "data.share=0.1", default=1.0
    )
    dir: str | None = _setting("a directory", "data.dir=DIR", default=None)
    scale: Number = _setting("a number > 0", "data.scale=0.11", default=1.0)
    seed: Annotated[int, Field(strict=True, ge=0)] = _setting(
        "a whole number ≥ 0", "data.seed=0", default=0
    )


class ModelSettings(_Settings):
    """The encoder and what is put on it."""

    source: Node
    path: str | None = _setting("a directory", "model.path=DIR", default=None)
    pairs: Literal["joint", "alone"] = _setting("joint or alone", "model.pairs=joint")
    dropout: Annotated[Number, Field(lt=1)] = _setting("a number from 0 to 1", "model.dropout=0.1")
    max_length: Count | None = _setting("a whole number ≥ 1 or null", "model.max_length=128")


class TrainerSettings(_Settings):
    """How a run is carried out."""

    accelerator: str = _setting("auto, cpu or gpu", "trainer.accelerator=auto")
    devices: Annotated[int, Field(strict=True, ge=1, le=1)] = _setting("1", "trainer.devices=1")
    precision: Literal["32-true", "64-true", "bf16-mixed"] = _setting(
        "32-true, 64-true or bf16-mixed", "trainer.precision=bf16-mixed"
    )
    clip: Number | None = _setting("a number ≥ 0 or null", "trainer.clip=1.0")
    workers: Annotated[int, Field(strict=True, ge=0)] = _setting(
        "a whole number ≥ 0", "trainer.workers=0"
    )
    threads: Count | None = _setting("a whole number ≥ 1 or null", "trainer.threads=2")
    eval_batch_size: Count = _setting("a whole number ≥ 1", "trainer.eval_batch_size=64")
    log_every: Count = _setting("a whole number ≥ 1", "trainer.log_every=50")
    bar: bool | None = _setting("true, false or null", "trainer.bar=false")
    baseline: bool = _setting("true or false", "trainer.baseline=true")


class Settings(_Settings):
    """Everything that decides a run."""

    seed: Annotated[int, Field(strict=True, ge=0)] = _setting("a whole number ≥ 0", "seed=1")
    epochs: Count = _setting("a whole number ≥ 1", "epochs=10")
    batch_size: Count = _setting("a whole number ≥ 1", "batch_size=8")
    lr: Number = _setting("a finite number ≥ 0", "lr=1e-5")
    lambda_: Number | None = _setting("a finite number ≥ 0", "lambda=0.5", alias="lambda")
    B: Count | None = _setting("a whole number ≥ 1 or null", "B=24000")
    freeze: str | list[str] = _setting(
        "none, all_but_head or a list of parameter-name patterns", "freeze=['encoder.embeddings.*']"
    )
    freeze_sets: dict[str, list[str]]
    tasks: Annotated[dict[str, Node], Field(min_length=1)] = _setting(
        "at least one task", "task=[sst,qqp,sts]"
    )
    sampler: Node
    surgery: Node
    data: DataSettings
    model: ModelSettings
    optimizer: Node
    scheduler: Node
    trainer: TrainerSettings
    logger: dict[str, Node] = Field(default_factory=dict)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Θ' as patterns."""
        if isinstance(self.freeze, list):
            return tuple(self.freeze)
        if self.freeze not in self.freeze_sets:
            raise ConfigError(
                f"freeze: expected {', '.join(self.freeze_sets)} or a list of parameter-name "
                f"patterns, found {self.freeze!r}; write for example freeze=[{self.freeze!r}]"
            )
        return tuple(self.freeze_sets[self.freeze])


# Top-level keys that only some samplers use: the key, the sampler's field, the value of "not set".
SAMPLER_KEYS = (("lambda", "lambda_", None), ("B", "B", None), ("freeze", "freeze", "none"))


def read_settings(config: DictConfig | Mapping[str, Any]) -> Settings:
    """Check a composed configuration.

    Raises:
        ConfigError: a value that is wrong, unknown, or not used by the chosen sampler.
    """
    try:
        plain = (
            OmegaConf.to_container(config, resolve=True)
            if isinstance(config, DictConfig)
            else dict(config)
        )
        settings = Settings.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    except (InterpolationResolutionError, OmegaConfBaseException) as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    _refuse_unused(settings)
    return settings


def _refuse_unused(settings: Settings) -> None:
    name = sampler_name(settings)
    for key, field, unset in SAMPLER_KEYS:
        value = settings.model_dump(by_alias=True)[key]
        if value != unset and field not in settings.sampler:
            raise ConfigError(
                f"{key}: expected no value with sampler={name}, which does not use it, found "
                f"{key}={value}; leave {key} out or write sampler=arrp"
            )


def sampler_name(settings: Settings) -> str:
    """The name by which people choose the sampler."""
    return str(settings.sampler["name"])


def setting_names(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """Every setting that is declared here, as people write it on the command line."""
    names = []
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            names += setting_names(nested, f"{key}.")
        else:
            names.append(key)
    return names


def _explain(error: ValidationError) -> str:
    """Say the first thing that is wrong, in the words of the setting's own declaration."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if isinstance(part, str)]
    key, field = _locate(path)
    if first["type"] == "extra_forbidden":
        key = ".".join(path)
        return f"{key}: expected a known setting, found {key}; leave it out, or see --help"
    missing = first["type"] == "missing"
    expected = (field and field.description) or ("a value" if missing else first["msg"])
    found = "none" if missing else repr(first["input"])
    advice = f"write for example {field.examples[0]}" if field and field.examples else "see --help"
    return f"{key}: expected {expected}, found {found}; {advice}"


def _locate(path: list[str]) -> tuple[str, Any]:
    """The dotted key of an error, and the declaration of the setting it is about."""
    model: Any = Settings
    keys: list[str] = []
    field: Any = None
    for part in path:
        fields = getattr(model, "model_fields", {})
        by_key = {f.alias or name: f for name, f in fields.items()}
        if model is not None and fields and part not in by_key and keys:
            break
        keys.append(part)
        field = by_key.get(part)
        model = getattr(field, "annotation", None)
    return ".".join(keys), field


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
        if cause is not None and not isinstance(cause, ImportError | AttributeError):
            raise cause from None
        raise ConfigError(str(error).splitlines()[0]) from error


def make_sampler(settings: Settings) -> Sampler:
    """The sampler, its Θ' resolved to patterns."""
    node = {key: value for key, value in settings.sampler.items() if key != "name"}
    if "freeze" in node:
        node["freeze"] = list(settings.frozen)
    sampler: Sampler = make(node)
    return sampler


def make_surgery(settings: Settings) -> "Surgery":
    """The surgery."""
    surgery: Surgery = make(settings.surgery)
    return surgery


def make_tasks(settings: Settings) -> "list[Task]":
    """The tasks, in the order in which they are configured."""
    return [
        make({"_target_": "mtl_bert.tasks.Task", "name": name, **node})
        for name, node in settings.tasks.items()
    ]


def read_corpus(settings: Settings, tasks: "Sequence[Task]", splits: Sequence[str]) -> "Corpus":
    """The tasks' tables.

    Raises:
        DataError, HubError: data that cannot be had or used.
    """
    from mtl_bert.data import load  # torch takes seconds to import

    data = settings.data
    return load(
        make(data.source), tasks, data.max_bad_share, splits, share=data.share, seed=data.seed
    )


def make_encoder_source(settings: Settings) -> "EncoderSource":
    """Where the encoder comes from."""
    source: EncoderSource = make(settings.model.source)
    return source
