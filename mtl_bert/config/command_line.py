"""What ``train`` and ``plan`` share: Hydra around a function of the settings, short messages."""

import difflib
import os
import re
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mtl_bert.config.compose import (
    CONF,
    NO_SETTINGS,
    NODES,
    PLACES,
    command_keys,
    made_by,
    own_part,
    place,
    read_job_settings,
    read_settings,
)
from mtl_bert.config.reference import choices, help_text
from mtl_bert.config.saved import callables, saved_settings
from mtl_bert.config.settings import (
    CONFIG,
    ConfigError,
    Settings,
    TaskSettings,
    described,
    shown,
    unknown_setting,
)
from mtl_bert.utils.console import command_line
from mtl_bert.utils.errors import FULL_ERROR, UserError, first_line, say

# What --help says of the settings.
OmegaConf.register_new_resolver("described_settings", lambda: help_text())

LISTS = ("task", "logger", "callbacks")
"""Groups of which several are chosen."""

INSTEAD = {
    "sampler.name": "write sampler=CHOICE: its file says how results call it",
    "data.source.name": "write data=CHOICE: its file says how results call it",
    "hydra.searchpath": "write --config-dir DIR: its files come before built-in ones",
    "hydra.job.chdir": "leave it out: a run works where it is started",
}
"""Keys that no command line may set -> what to write."""

PLAN = ("plan.sizes", "plan.out", "plan.compare")
"""Settings of ``plan`` alone."""

OF_A_TASK = "|".join(TaskSettings.model_fields)
"""What any task may have, whether its file says so or not."""

OBJECTS = ("sampler.", "surgery.", "optimizer.", "scheduler.", "tasks.", "data.source.",
           "model.source.")  # fmt: skip
"""Places of objects, which may take settings that nobody has named yet."""


class OwnFilesFirst(SearchPathPlugin):
    """Has Hydra look into a user's own directories before it looks into ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put them first; Hydra itself would put ``--config-dir`` last."""
        for directory in reversed(PLACES[:-1]):
            search_path.prepend("own", f"file://{directory}")


Plugins.instance().register(OwnFilesFirst)


@dataclass(frozen=True)
class Composed:
    """What Hydra has made of a command line, or of one job of a sweep (``-m``)."""

    config: DictConfig  # the settings, unchecked
    directory: Path  # where the output goes
    overrides: Sequence[str]  # the KEY=VALUE that were given, without those of Hydra's own part
    in_sweep: bool = False  # one of several jobs

    def run(self) -> tuple[Settings, Path]:
        """The settings and the folder of a new run, or of the one that ``resume`` names."""
        config, directory = self.config, command_keys(self.config)
        if directory is None:
            return made_by(read_settings(config), self.overrides), self.directory
        path = directory / CONFIG
        if not path.is_file():
            raise ConfigError(
                f"resume: expected the directory of a run, found no {CONFIG} in {directory}; "
                "write for example resume=runs/2026-01-31/12-00-00-arrp-seed1"
            )
        named = callables(OmegaConf.to_container(config))
        trust = None if config.trust is None else place("trust", config.trust)
        before = saved_settings(path, named=named, trust=trust)
        saved = OmegaConf.create(before.config())  # without a command line, whose ${} is quoted
        anew = [o for o in self.overrides if not o.startswith(("resume=", "trust="))]
        for override in anew:
            key = override.lstrip("+~").partition("=")[0].partition("@")[0]
            node = NODES.get(key, key)
            new, whole = OmegaConf.select(config, node), node in ("logger", "callbacks")
            new = {} if whole and new is None else new  # those that are chosen, and no others
            OmegaConf.update(saved, node, new, merge=not whole, force_add=True)
        # Another sampler is refused for its name, not for what is left of the old one's settings.
        chosen = any(override.startswith("sampler=") for override in anew)
        settings = read_job_settings(saved)[0] if chosen else read_settings(saved)
        return made_by(settings, [*(before.overrides or ()), *anew]), directory


def run(
    config_name: str, function: Callable[[Composed], object], arguments: Sequence[str] | None = None
) -> None:
    """Run ``function(composed)`` on what a command line says; exit with code 2 on a user's error.

    One job needs Hydra to compose its settings, and no more: nothing is made on the disk before
    the function does so. Sweeps, whose sweepers see what it returns, and flags are Hydra's.
    """
    with command_line(arguments) as given:
        flags = _flags(given)
        name, words = flags.pop("config_name", config_name), flags.pop("overrides", [])
        _look_into(flags.pop("config_dir", []))
        sweep = "multirun" in flags or "hydra.mode=MULTIRUN" in words
        words = readable(words, sweep=sweep)
        if not sweep and flags.keys() <= {"run"}:
            whole = _composed(name, words)
            if whole.hydra.mode != RunMode.MULTIRUN:
                composed = _job_of(whole)
                os.environ.update(whole.hydra.job.env_set)
                configure_log(whole.hydra.job_logging, whole.hydra.verbose)
                function(composed)
                return
        spelt = (
            f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")
            for key, value in flags.items()
        )
        _run_hydra(name, function, [*spelt, *words])


def _run_hydra(
    config_name: str, function: Callable[[Composed], object], arguments: Sequence[str]
) -> None:
    """Leave a sweep, or a flag of Hydra's own, to Hydra."""

    def job(config: DictConfig) -> object:
        now = HydraConfig.get()
        try:
            directory, overrides = Path(now.runtime.output_dir), tuple(now.overrides.task)
            return function(Composed(config, directory, overrides, in_sweep=True))
        except Exception as error:  # Hydra itself reports only at the sweep's end
            say(f"job {now.job.num} failed: {error}", sys.stderr)
            raise

    argv, full = sys.argv, os.environ.get(FULL_ERROR, "0")
    # Hydra reads this process's command line, and leaves the wording of its errors to us.
    sys.argv, os.environ[FULL_ERROR] = [argv[0], *arguments], "1"
    try:
        hydra.main(str(CONF), config_name, version_base="1.3")(job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise explained(error) from error
    finally:
        sys.argv, os.environ[FULL_ERROR] = argv, full


def compose(
    overrides: Sequence[str],
    directory: str | Path | None = None,
    config_dirs: Sequence[str | Path] = (),
) -> Composed:
    """What the command line of a run gives, for programs; UserError for words that are wrong."""
    _look_into(config_dirs)
    return _job_of(_composed("train", readable(overrides)), directory)


def with_sampler(composed: Composed, config_name: str, sampler: str) -> Composed:
    """The same with another sampler, which gets those of the settings of samplers that it has.

    What the chosen sampler lacks was added to it with a +.
    """
    _check_choice("sampler", sampler)
    files = [place / "sampler" / f"{sampler}.yaml" for place in PLACES]
    known: Any = OmegaConf.load(next(path for path in files if path.is_file()))
    words = []
    for word in composed.overrides:
        group, _, key = word.lstrip("+~").partition("=")[0].partition(".")
        if group != "sampler":
            words.append(word)
        elif key.partition(".")[0] in known.sampler:
            words.append(f"++{word.lstrip('+')}")
    return _job_of(_composed(config_name, [*words, f"sampler={sampler}"]))


def _job_of(whole: DictConfig, directory: str | Path | None = None) -> Composed:
    config = own_part(whole)
    try:
        found = whole.hydra.run.dir if directory is None else str(directory)
    except OmegaConfBaseException as error:
        read_settings(config)  # a setting that is part of the name, most likely
        raise explained(error) from error
    directory = place("hydra.run.dir", found).absolute()
    words: Any = OmegaConf.to_container(whole.hydra.overrides.task)  # as written, with their ${}
    return Composed(config, directory, tuple(words))


def _composed(config_name: str, words: Sequence[str]) -> DictConfig:
    """Hydra's configuration of these words; UserError for what it refuses."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            return hydra.compose(config_name, list(words), return_hydra_config=True)
        except Exception as error:  # nothing but the reading of words and files goes on here
            raise explained(error) from error


def _look_into(directories: Sequence[str | Path]) -> None:
    """Have choices looked for in a user's own directories first."""
    own = [Path(directory).absolute() for directory in directories]
    for directory in own:
        if not directory.is_dir():
            raise UserError(
                f"--config-dir: expected a directory, found none at {directory}; write "
                "--config-dir DIR"
            )
    PLACES[:] = [*own, CONF]


# The words of the command line: each is looked at before Hydra composes them.


def _flags(words: Sequence[str]) -> dict[str, Any]:
    """Hydra's flags that are given, which may stand anywhere, and the words between them."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = partial(_refuse, words=words)  # type: ignore[method-assign]
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-dir", "-cd", action="append")
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    one_of = parser.add_mutually_exclusive_group()
    for names in ("--help -h", "--run -r", "--multirun -m", "--shell-completion -sc",
                  "--hydra-help", "--version"):  # fmt: skip
        one_of.add_argument(*names.split(), action="store_true")
    one_of.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    one_of.add_argument("--info", "-i", nargs="?", const="all")
    given = {
        key: value for key, value in vars(parser.parse_intermixed_args(words)).items() if value
    }
    if "resolve" in given and "cfg" not in given:
        _refuse("--resolve without --cfg")
    return given


def _refuse(message: str, words: Sequence[str] = ()) -> NoReturn:
    """What argparse says of Hydra's flags, in a line."""
    advice = "see --help"
    if unknown := re.search(r"unrecognized arguments: --([\w.-]+)(?:=(\S+))?", message):
        key, value = unknown[1].replace("-", "_"), unknown[2]
        after = words[words.index(f"--{unknown[1]}") + 1 :] if value is None else ()
        value = value or (after[0] if after and "=" not in after[0] else "VALUE")
        advice = f"write {key}={value}" if key in _keys() else advice
    raise UserError(
        f"command line: expected KEY=VALUE and Hydra's flags, found others ({message}); {advice}"
    )


def _keys() -> set[str]:
    """The names of all settings."""
    return {*NO_SETTINGS, *(setting.key for setting in described())}


DIRECTORIES = {"model": "model=local model.path", "data": "data=files data.dir"}
"""Groups whose choices people take for directories, and where these go."""


def readable(words: Sequence[str], *, sweep: bool = False) -> list[str]:
    """The words, KEY=VALUE each, as Hydra shall read them; several values may be given in a sweep.

    UserError for a word that Hydra cannot read, or that would silently do something else.
    """
    found = []
    for word in words:
        override = _parsed(word)
        if override is None or not override.key_or_group:
            raise UserError(_unreadable(word))
        key, value = override.key_or_group, override.value()
        if override.is_sweep_override() and not sweep:
            text = word.partition("=")[2]
            raise UserError(
                f"{key}: expected one value, found several ({shown(text)[1:-1]}); write "
                f"{_advice(key, text)}, or -m to train with each"
            )
        if key in INSTEAD:
            raise UserError(f"{key}: expected no value, found {shown(value)}; {INSTEAD[key]}")
        if isinstance(value, ChoiceSweep):
            for each in value.list:
                _check_choice(key, each)
        elif not (override.is_delete() or override.is_sweep_override()):
            _check_choice(key, value)  # what a glob matches is there
        # Settings that a place does not have yet are added.
        optional = re.fullmatch(rf"tasks\.\w+\.({OF_A_TASK})", key) is not None
        new = (isinstance(value, dict) or optional) and word.startswith(f"{key}=")
        found.append(f"++{word}" if new and not key.startswith(("hydra.", "plan.")) else word)
    return found


def _check_choice(group: str, value: object) -> None:
    """Refuse what is none of a group's choices, and one that is named twice."""
    there = {} if group.startswith("hydra") else choices(group)
    several = isinstance(value, list) and (group in LISTS or "/" in group)
    names = value if isinstance(value, list) and several else [value]
    for name in names if there else ():
        place = group in DIRECTORIES and os.path.isdir(str(name))  # noqa: PTH112 - of any length
        if place and str(name) not in there:
            raise UserError(
                f"{group}: expected one of {', '.join(there)}, found the place {shown(name)}; "
                f"write {DIRECTORIES[group]}={shlex.quote(str(name))}"
            )
        if isinstance(name, str) and ("${" in name or "/" in name):
            continue  # Hydra finds out
        if not isinstance(name, str) or name.removesuffix(".yaml") not in there:
            close = difflib.get_close_matches(str(name), there, n=1)
            raise UserError(
                f"{group}: expected one of {', '.join(there)}, found {shown(name)}; "
                + (f"did you mean {close[0]}?" if close else _where_else(group, name))
            )
        if names.count(name) > 1:
            once = ",".join(dict.fromkeys(map(str, names)))
            raise UserError(
                f"{group}: expected each once, found {name} twice; write {group}=[{once}]"
            )


def _where_else(group: str, name: object) -> str:
    """What to write for a choice that is none: the folder of settings that somebody forgot?"""
    own = [path for path in sorted(Path().glob(f"*/{group}/*.yaml")) if path.stem == name]
    if own:
        return f"write --config-dir {shlex.quote(str(own[0].parents[1]))}"
    if group == "task":
        return "mtl-bert new-task FILE --name NAME makes one, for --config-dir my_conf"
    return "see --help for what there is"


def _parsed(word: str) -> Override | None:
    """A word as Hydra reads it; None if it does not."""
    try:
        return OverridesParser.create().parse_override(word)
    except Exception:  # the grammar's own, or a number of 5,000 digits, or too many brackets
        return None


def _unreadable(word: str) -> str:
    """What to say of a word that Hydra's grammar does not know."""
    key, equals, value = word.partition("=")
    if not equals or not re.fullmatch(r"[~+]{0,2}[\w./@:]+", key):
        advice = f"write {word}=VALUE" if word in _keys() else "see --help"
        return f"command line: expected KEY=VALUE, found {shown(word)}; {advice}"
    advice = _advice(key, value)
    return f"{key}: expected a value in Hydra's grammar, found {shown(value)}; write {advice}"


def _advice(key: str, value: str) -> str:
    """What to write for a text that Hydra does not read as one."""
    name = key.lstrip("+~")
    setting = {each.key: each for each in described()}.get(NODES.get(name, name))
    if setting is not None and not setting.expected.startswith("text"):
        return f"for example {setting.example}"
    return assignment(key, f"{Path.home()}{value[1:]}" if value.startswith("~/") else value)


def assignment(key: str, value: object) -> str:
    """KEY=VALUE as one writes it at a shell, so that Hydra reads this very text."""
    text = str(value)
    plain = _parsed(f"{key}={text}")
    if plain is None or plain.is_sweep_override() or plain.value() != text:
        text = QuotedString(text, Quote.double).with_quotes()
    return shlex.quote(f"{key}={text}")


def explained(error: Exception) -> UserError:
    """Put what Hydra says about a command line into one line of our form."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown and "is not in struct" in f"{text} {error.__cause__}":
        key = unknown[1]
        known = [*NO_SETTINGS, *(setting.key for setting in described()), *PLAN]
        if key in PLAN:
            text = f"{key}: expected by mtl-bert plan alone, found in another command; leave it out"
        elif key in known:
            only = next((s.only_with for s in described() if s.key == key), "")
            text = f"{key}: expected no value, found one for what was not chosen; leave it out"
            text += f", or write {only}" if only else ""
        else:
            text = unknown_setting(key, known, own=key.startswith(OBJECTS))
    elif merging := re.match(r"Error merging override \+*([^=]+)=(.*)", text):
        key, value = merging.groups()
        why = f" ({first_line(error.__cause__)})" if error.__cause__ else ""
        text = f"{key}: expected another kind of value, found {shown(value)}{why}; see --help"
    elif ": expected " not in text:  # what a file of the user's own says, most of all
        first = re.split(r" ?(?:full_key|Config search path|Search path|Available|See http)", text)
        found = first[0] or type(error).__name__
        text = f"settings: expected some that Hydra can compose, found {found}; see --help"
    return UserError(text)
