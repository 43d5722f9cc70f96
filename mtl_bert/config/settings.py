"""Every setting of a run, its type and range, and how a wrong one is explained.

Values that people set at the top level are checked here, so that all messages look alike; each
object (sampler, source, head, ...) checks its own settings when it is made.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mtl_bert.utils.errors import UserError


class ConfigError(UserError):
    """A setting that cannot be."""


RENAMED = {
    "accumulate": "trainer.accumulate_grad_batches",
    "bucket": "group_by_length",
    "scheduler.warmup": "scheduler.warmup_ratio",
    "trainer.bar": "trainer.enable_progress_bar",
    "trainer.clip": "trainer.gradient_clip_val",
    "trainer.log_every": "trainer.log_every_n_steps",
    "trainer.nodes": "trainer.num_nodes",
    "trainer.save_every_minutes": "trainer.save_minutes",
    "trainer.save_every_steps": "trainer.save_steps",
    "trainer.validate_every": "trainer.check_val_every_n_epoch",
    "trainer.workers": "trainer.num_workers",
}
"""Settings that had another name once -> what Lightning and Hugging Face call them."""


def _setting(expected: str, example: str, **checks: Any) -> Any:
    return Field(description=expected, examples=[example], **checks)


Count = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Node = dict[str, Any]
_PerTask = Count | Annotated[dict[str, Count], Field(min_length=1)] | None


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class DataSettings(_Settings):
    """Where examples come from."""

    source: Node = _setting("what conf/data says of it", "data=demo")
    max_bad_share: Annotated[Number, Field(le=1)] = _setting(
        "a share of rows from 0 to 1", "data.max_bad_share=0.01"
    )
    share: Annotated[Number, Field(gt=0, le=1)] = _setting(
        "a share above 0, up to 1, of every training set", "data.share=0.1", default=1.0
    )
    limit: _PerTask = _setting(
        "a whole number ≥ 1 of examples, one for each task, or null",
        "data.limit=5000 or data.limit='{TASK: 5000}'",
        default=None,
    )
    dev_limit: _PerTask = _setting(
        "a whole number ≥ 1 of examples, one for each task, or null",
        "data.dev_limit=1000 or data.dev_limit='{TASK: 1000}'",
        default=None,
    )
    imbalance: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] | None = _setting(
        "a number ≥ 1, or null", "data.imbalance=30", default=None
    )
    dir: str | None = _setting("a directory", "data.dir=DIR", default=None)
    scale: Number = _setting("a number > 0", "data.scale=0.11", default=1.0)
    seed: Annotated[int, Field(strict=True, ge=0)] = _setting(
        "a whole number ≥ 0", "data.seed=0", default=0
    )


class ModelSettings(_Settings):
    """The encoder and what is put on it."""

    source: Node = _setting("what conf/model says of it", "model=tiny")
    path: str | None = _setting("a directory", "model.path=DIR", default=None)
    pairs: Literal["joint", "alone"] = _setting("joint or alone", "model.pairs=joint")
    dropout: Annotated[Number, Field(lt=1)] = _setting("a number from 0 to 1", "model.dropout=0.1")
    max_length: Count | None = _setting("a whole number ≥ 1 or null", "model.max_length=128")


class TrainerSettings(_Settings):
    """How a run is carried out."""

    accelerator: Literal["auto", "cpu", "gpu"] = _setting(
        "auto, cpu or gpu", "trainer.accelerator=auto"
    )
    devices: Count = _setting("a whole number ≥ 1", "trainer.devices=2")
    num_nodes: Count = _setting("a whole number ≥ 1", "trainer.num_nodes=1")
    accumulate_grad_batches: Count = _setting(
        "a whole number ≥ 1", "trainer.accumulate_grad_batches=2"
    )
    precision: Literal["auto", "32-true", "64-true", "bf16-mixed", "16-mixed"] = _setting(
        "auto, 32-true, 64-true, bf16-mixed or 16-mixed", "trainer.precision=bf16-mixed"
    )
    packing: bool | None = _setting("true, false or null", "trainer.packing=false", default=None)
    gradient_clip_val: Number | None = _setting(
        "a number ≥ 0 or null", "trainer.gradient_clip_val=1.0"
    )
    num_workers: Annotated[int, Field(strict=True, ge=0)] = _setting(
        "a whole number ≥ 0", "trainer.num_workers=0"
    )
    cache: bool = _setting("true or false", "trainer.cache=false", default=True)
    cache_gib: Annotated[Number, Field(gt=0)] = _setting(
        "a number > 0", "trainer.cache_gib=10", default=10.0
    )
    threads: Count | None = _setting("a whole number ≥ 1 or null", "trainer.threads=2")
    check_val_every_n_epoch: Count = _setting(
        "a whole number ≥ 1 of epochs", "trainer.check_val_every_n_epoch=2", default=1
    )
    dev_sample: Count | None = _setting(
        "a whole number ≥ 1 of examples, or null", "trainer.dev_sample=2000", default=None
    )
    eval_batch_size: Count = _setting("a whole number ≥ 1", "trainer.eval_batch_size=64")
    skip_limit: Count = _setting("a whole number ≥ 1", "trainer.skip_limit=10")
    save_steps: Count | None = _setting("a whole number ≥ 1 or null", "trainer.save_steps=1000")
    save_minutes: Annotated[Number, Field(gt=0)] | None = _setting(
        "a number > 0 or null", "trainer.save_minutes=15"
    )
    keep: Literal["all", "best", "none"] = _setting(
        "all, best or none", "trainer.keep=best", default="all"
    )
    log_every_n_steps: Count = _setting("a whole number ≥ 1", "trainer.log_every_n_steps=50")
    layers_every: Count | None = _setting(
        "a whole number ≥ 1 or null", "trainer.layers_every=50", default=None
    )
    enable_progress_bar: bool | None = _setting(
        "true, false or null", "trainer.enable_progress_bar=false"
    )
    baseline: bool = _setting("true or false", "trainer.baseline=true")
    profile: bool = _setting("true or false", "trainer.profile=true", default=False)


class Settings(_Settings):
    """Everything that decides a run."""

    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = _setting(
        "a whole number from 0 to 2**63 − 1", "seed=1"
    )
    epochs: Count = _setting("a whole number ≥ 1", "epochs=10")
    batch_size: Count = _setting("a whole number ≥ 1", "batch_size=8")
    group_by_length: Annotated[int, Field(strict=True, ge=2)] | None = _setting(
        "a whole number ≥ 2 of steps, or null", "group_by_length=50", default=None
    )
    lr: Number = _setting("a finite number ≥ 0", "lr=1e-5")
    lambda_: Number | None = _setting("a finite number ≥ 0", "lambda=0.5", alias="lambda")
    B: Count | None = _setting("a whole number ≥ 1 or null", "B=24000")
    B_scale: Annotated[Number, Field(gt=0)] = _setting(
        "a number > 0 that B is multiplied by", "B_scale=0.11", default=1.0
    )
    freeze: str | list[str] = _setting(
        "none, all_but_head or a list of parameter-name patterns", "freeze=['encoder.embeddings.*']"
    )
    freeze_sets: dict[str, list[str]] = _setting("names of lists of patterns", "freeze=none")
    tasks: Annotated[dict[str, Node], Field(min_length=1)] = _setting(
        "at least one task", "task=[sst,qqp,sts]"
    )
    sampler: Node = _setting("a choice from conf/sampler", "sampler=arrp")
    surgery: Node = _setting("a choice from conf/surgery", "surgery=pcgrad_paper")
    data: DataSettings = _setting("a choice from conf/data", "data=demo")
    model: ModelSettings = _setting("a choice from conf/model", "model=tiny")
    optimizer: Node = _setting("a choice from conf/optimizer", "optimizer=adamw")
    scheduler: Node = _setting("a choice from conf/scheduler", "scheduler=constant")
    trainer: TrainerSettings = _setting("a choice from conf/trainer", "trainer=default")
    logger: dict[str, Node] = Field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The settings as they were given, under the names that people use."""
        return self.model_dump(by_alias=True, mode="json", exclude_unset=True)

    def complete(self) -> dict[str, Any]:
        """The same, with the defaults of what was not given."""
        return self.model_dump(by_alias=True, mode="json")

    @property
    def processes(self) -> int:
        """That train together."""
        return self.trainer.devices * self.trainer.num_nodes

    @property
    def step_size(self) -> int:
        """Examples of a step's batch, over all processes and parts."""
        return self.batch_size * self.trainer.accumulate_grad_batches * self.processes

    @property
    def drawn(self) -> int | None:
        """Examples that B stands for with the data at hand."""
        return None if self.B is None else max(1, round(self.B * self.B_scale))

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


def unknown_setting(key: str, known: Sequence[str] = ()) -> str:
    """What to say of a setting that does not exist: its new name, or one that looks alike."""
    close = difflib.get_close_matches(key, known, n=1)
    name = key.rpartition(".")[2].rstrip("_")
    if key in RENAMED:
        advice = f"write {RENAMED[key]}"
    elif name in known:  # the sampler's lambda_ is the run's lambda
        advice = f"write {name}"
    elif close:
        advice = f"did you mean {close[0]}?"
    else:
        advice = "leave it out, or see --help"
    return f"{key}: expected a known setting, found {key}; {advice}"


def refuse_old_names(plain: Mapping[str, Any]) -> None:
    """Check that no setting has the name that it had once.

    Raises:
        ConfigError: one that has, with its new name.
    """
    for old in RENAMED:
        group, _, name = old.rpartition(".")
        if name in (plain.get(group, {}) if group else plain):
            raise ConfigError(unknown_setting(old))


def explain(error: ValidationError) -> str:
    """Say the first thing that is wrong, in the words of the setting's own declaration."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if isinstance(part, str)]
    key, field = _locate(path)
    if first["type"] == "extra_forbidden":
        key = ".".join(path)
        return unknown_setting(key)
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
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            break
        field = {f.alias or name: f for name, f in model.model_fields.items()}.get(part)
        keys.append(part)
        model = field.annotation if field else None
    return ".".join(keys), field
