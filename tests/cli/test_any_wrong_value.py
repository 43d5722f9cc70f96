"""Any value of any setting is taken, or refused in a line that names it; the list is generated.

Hundreds of cases go through the reader of words and the checks of settings in this process. What
is the command's own (its exit code, folders, streams) is tried with a few real ones.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from mtl_bert.config.command_line import assignment, compose, readable
from mtl_bert.config.compose import CONF
from mtl_bert.config.reference import GROUPS
from mtl_bert.config.run_key import flat
from mtl_bert.config.settings import Settings, described
from mtl_bert.runs.factories import make, make_sampler, make_surgery, make_tasks
from mtl_bert.utils.errors import UserError
from tests.cli.driving import Command, python_m, tree
from tests.composing import config_of, settings_with

VALUES = (
    "", "null", "3", "-1", "abc", "true", "[1]", "{a: 1}", "${nope}",
    "99999999999999999999999", "x" * 300,
)  # fmt: skip
FEWER = ("null", "3", "abc", "[1]")
CHOSEN = (
    "data=demo",
    "data=cs224n model=local",
    "surgery=fixed sampler=vanilla callbacks=[time_limit] logger=[wandb]",
)


@pytest.fixture(scope="module")
def composed() -> list[DictConfig]:
    """What Hydra makes of some command lines; every setting is in one of them."""
    return [config_of(*chosen.split()) for chosen in CHOSEN]


def make_part(settings: Settings, key: str) -> None:
    """Make what a setting is of; neither data nor a model is needed for that."""
    part, _, rest = key.partition(".")
    makers = {"tasks": make_tasks, "sampler": make_sampler, "surgery": make_surgery}
    if part in makers:
        makers[part](settings)
    else:
        node = getattr(settings, part)
        name = rest.partition(".")[0] if part in ("data", "model", "logger") else ""
        inner = node[name] if part == "logger" else getattr(node, name) if name else node
        make(inner, f"{part}.{name}".rstrip("."))


def refusal(config: DictConfig, word: str, part: str | None = None) -> str | None:
    """How a word is refused, by the settings or by the part that they make; None: it is taken."""
    try:
        settings = settings_with(config, word)
        if part is not None:
            make_part(settings, part)
    except UserError as error:
        return str(error)
    return None


def in_a_line(message: str, key: str) -> bool:
    return (
        ": expected " in message
        and message.count("\n") == 0
        and len(message) < 500
        and key.split(".")[0] in message
    )


SAID = [
    ("lambda=abc", "lambda: expected a number ≥ 0 or null|found 'abc'|lambda=0.5"),
    ("lambda=-1", "lambda: expected a number ≥ 0 or null|found -1|lambda=0.5"),
    ("lambda=nan", "lambda: expected a number ≥ 0 or null|found nan|lambda=0.5"),
    ("lambda=inf", "lambda: expected a number ≥ 0 or null|found inf|lambda=0.5"),
    ("B=-1", "B: expected a whole number ≥ 1|found -1|B=24000"),
    ("B=0", "B: expected a whole number ≥ 1|found 0|B=24000"),
    ("B=1.5", "B: expected a whole number ≥ 1|found 1.5|B=24000"),
    ("batch_size=0", "batch_size: expected a whole number ≥ 1|found 0|batch_size=16"),
    ("epochs=0", "epochs: expected a whole number ≥ 1|found 0|epochs=10"),
    ("seed=-1", "seed: expected a whole number from 0|found -1|seed=2"),
    (
        "group_by_length=1",
        "group_by_length: expected a whole number ≥ 2 or null|found 1|group_by_length=50",
    ),
    (
        "group_by_length=2.5",
        "group_by_length: expected a whole number ≥ 2 or null|found 2.5|group_by_length=50",
    ),
    (
        "group_by_length=many",
        "group_by_length: expected a whole number ≥ 2 or null|found 'many'|group_by_length=50",
    ),
    ("trainer.check_val_every_n_epoch=0", "n_epoch: expected a whole number ≥ 1|found 0|n_epoch=2"),
    (
        "trainer.dev_sample=0",
        "trainer.dev_sample: expected a whole number ≥ 1 or null|found 0|dev_sample=2000",
    ),
    (
        "trainer.check_val_every_n_epoch=null",
        "n_epoch: expected a whole number ≥ 1|found None|n_epoch=2",
    ),
    ("lr=-1", "lr: expected a number ≥ 0|found -1|lr=3e-5"),
    ("lr=nan", "lr: expected a number ≥ 0|found nan|lr=3e-5"),
    ("data.scale=0", "data.scale: expected a number > 0|found 0|data.scale=0.11"),
    ("trainer.cache=maybe", "trainer.cache: expected true or false|found|trainer.cache=false"),
    ("trainer.cache_gib=0", "trainer.cache_gib: expected a number > 0|found 0|cache_gib=20"),
    ("trainer.devices=0", "trainer.devices: expected a whole number ≥ 1|found 0|trainer.devices=2"),
    ("trainer.accelerator=nope", "expected auto, cpu or gpu|found 'nope'|trainer.accelerator=cpu"),
    ("seed=18446744073709551616", "seed: expected a whole number from 0|found 18446|seed=2"),
    ("freeze=3", "freeze: expected none, all_but_head or a list|found 3|write"),
    ("freeze=null", "freeze: expected none, all_but_head or a list|found None|write"),
    ("trainer.profile=maybe", "trainer.profile: expected true or false|found 'maybe'|profile=true"),
]


@pytest.mark.parametrize(("word", "message"), SAID, ids=[word for word, _ in SAID])
def test_what_is_said_of_a_setting(composed: list[DictConfig], word: str, message: str) -> None:
    said, at = refusal(composed[0], word) or "", 0
    for piece in message.split("|"):
        assert piece in said[at:], said
        at = said.index(piece, at)


def test_every_value_of_every_setting(composed: list[DictConfig]) -> None:
    tried = 0
    for setting in described():
        config = next(
            (c for c in composed if OmegaConf.select(c, setting.key, default=...) is not ...), None
        )
        assert config is not None, setting.key
        for value in VALUES if not setting.group else ():
            message = refusal(config, f"{setting.key}={value}")
            assert message is None or in_a_line(message, setting.key), (setting.key, value)
            tried += 1
    assert tried > 400


def test_every_value_of_every_setting_of_an_object(composed: list[DictConfig]) -> None:
    own = ("sampler.", "surgery.", "optimizer.", "scheduler.", "tasks.sst.", "logger.")
    keys = {
        key: config
        for config in (composed[2], composed[0])
        for key, _ in flat(dict(OmegaConf.to_container(config)))  # type: ignore[arg-type]
        if key.startswith((*own, "data.source.", "model.source."))
    }
    assert len(keys) > 60
    for key, config in keys.items():
        for value in FEWER:
            message = refusal(config, f"{key}={value}", key)
            assert message is None or in_a_line(message, key), (key, value, message)


@pytest.mark.parametrize("group", GROUPS)
def test_every_value_of_every_choice(group: str) -> None:
    for value in ("", "null", "3", "nope", "[1]", "[3,3]", "{a: 1}", "x" * 300):
        with pytest.raises(UserError, match=f"^{group}: expected one of ") as refused:
            readable([f"{group}={value}"])
        assert in_a_line(str(refused.value), group)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["=3"], "command line: expected KEY=VALUE, found '=3'"),
        ([""], "command line: expected KEY=VALUE, found ''"),
        (["seed"], "command line: expected KEY=VALUE, found 'seed'"),
        (["plan=3"], "plan: expected a known setting"),
        (["plan.sizes={sst: 3}"], "plan.sizes: expected by mtl-bert plan alone, found in another"),
        (["settings=3"], "settings: expected some that Hydra can compose"),
        (["hydra.run.dir="], "hydra.run.dir: expected the name of a place, found nothing"),
        (["hydra.run.dir=${nope}"], "Interpolation key 'nope' not found"),
        (["resume="], "resume: expected the name of a place, found nothing"),
        (["resume=[a]"], "resume: expected the name of a place, found ['a']"),
        (["-m", "hydra.sweep.dir="], "hydra.sweep.dir: expected the name of a place"),
        (["-m", "seed=1,2", "surgery=3,4"], "surgery: expected one of "),
        (["-m", "sampler=rr", "B_scale=2,3"], "B_scale: expected no value without B"),
        (["task=[sst,sst]"], "task: expected each once, found sst twice; write task=[sst]"),
        (["-m", "task=[sst],[sts,sts]"], "task: expected each once, found sts twice"),
        (["sampler.name=foo"], "sampler.name: expected no value"),
        (["data.source.name=foo"], "data.source.name: expected no value"),
        (["hydra.searchpath=[conf]"], "found ['conf']; write --config-dir DIR"),
        (["fail_fast=3"], "fail_fast: expected true or false, found 3"),
        (["sampler=rr", "B_scale=3"], "B_scale: expected no value without B, found B_scale=3"),
        (["trainer.gradient_clip_val=0"], "trainer.gradient_clip_val: expected a number > 0"),
        (["seed=1,2"], "seed: expected one value, found several (1,2); write for example"),
        (["--resolve"], "--resolve without --cfg"),
        (["-m", "--cfg", "job"], "not allowed with"),
        (["~seed"], "Interpolation key 'seed' not found"),
        (["~sampler"], "sampler: expected a choice from conf/sampler, found none"),
        (["--config-dir", "gone"], "--config-dir: expected a directory, found none at"),
        (["+optimizer/adamw=3"], "optimizer/adamw: expected a known setting"),
        (["model.source.settings.nope=3"], "Write +model.source.settings.nope=VALUE to add"),
    ],
    ids=str,
)
def test_words_that_cannot_be_meant(
    command: Command, tmp_path: Path, words: list[str], message: str
) -> None:
    outcome = command("train", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plan.sizes={nope: 3}"], "plan.sizes: expected tasks of sst, qqp, sts, found 'nope'"),
        (["plan.sizes={sst: 99999999999999999999}"], "plan.sizes: expected whole numbers"),
        (["resume=x"], "resume: expected nothing, as a plan is of a whole run, found x"),
        (["plan.out="], "plan.out: expected the name of a place, found nothing"),
    ],
)
def test_plans_that_cannot_be_meant(command: Command, words: list[str], message: str) -> None:
    outcome = command("plan", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(message)


@pytest.mark.parametrize("words", [["evaluate", ""], ["export", "x", ""], ["report", ""]])
def test_an_empty_name_is_not_where_one_works(command: Command, words: list[str]) -> None:
    outcome = command(*words)
    assert outcome.code == 2
    assert "found an empty name" in outcome.err


TEXTS = ["a=b", "a,b", "a(b)", "it's", 'say "x"', "a b", "~/x", "é", "[x", "3", "null", "true",
         "a\\", "a\\\"b", "#1", "a&b", "C:\\x", "", "${x"]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_advised_is_read_as_that_very_text(text: str) -> None:
    [word] = shlex.split(assignment("data.dir", text))
    assert OverridesParser.create().parse_override(word).value() == text


@pytest.mark.parametrize(
    "text", ["a=b", "a(b)", "it's", 'say "x"', "é", "[x", 'a\\"b', "#1", "a&b", "${x", "a,b"]
)
def test_the_grammar_s_errors_name_the_setting_and_how_to_write_it(text: str) -> None:
    with pytest.raises(UserError) as refused:
        readable([f"data.dir={text}"])
    assert str(refused.value).startswith("data.dir: expected ")
    assert assignment("data.dir", text) in str(refused.value)


def test_the_documented_weights() -> None:
    """Word for word what the table of methods says is taken, without a plus."""
    table = (CONF.parent / "docs/how-to/choose-surgery.md").read_text("utf-8")
    said = re.search(r"\| `fixed` \|[^|]*\| `('surgery.method.task_weights=[^`]*)`", table)
    assert said is not None
    words = ["surgery=fixed", *shlex.split(said[1])]
    surgery = make_surgery(compose(words).run()[0])
    assert vars(surgery.method) == {"task_weights": {"qqp": 0.1}}


def test_settings_of_an_encoder_are_added_without_a_plus() -> None:
    word = "model.source.settings={hidden_act: relu, hidden_size: 48}"
    settings = compose([word]).run()[0].model.source["settings"]
    assert (settings["hidden_act"], settings["hidden_size"]) == ("relu", 48)
    assert settings["num_hidden_layers"] == 1


def test_a_user_s_own_file_comes_before_the_built_in_one(command: Command) -> None:
    """Also where a flag stands between settings, in help, and in what is expected."""
    for name in ("rr", "mine"):
        path = Path("conf/sampler") / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "# @package _global_\n# My own sampler.\n"
            "sampler: {_target_: mtl_bert.sampling.Full, name: my_rr}\n"
        )
    shown = command("train", "sampler=rr", "--config-dir", "conf", "seed=3", "--cfg", "job")
    assert (shown.code, shown.err) == (0, "")
    assert "sampling.Full\n  name: my_rr\n" in shown.out
    assert "sampling.RoundRobin" in command("train", "sampler=rr", "--cfg", "job").out
    listed = command("train", "--config-dir", "conf", "--help").out
    assert re.search(r"^  mine +My own sampler\.$", listed, re.MULTILINE)
    assert re.search(r"^  rr +My own sampler\.$", listed, re.MULTILINE)
    assert "  mine " not in command("train", "--help").out
    wrong = command("train", "--config-dir", "conf", "sampler=mien")
    assert re.search(r"expected one of annealed, arrp, .*full, mine, .*rr, single", wrong.err)
    assert "did you mean mine?" in wrong.err


def test_streams_that_cannot_take_it_all(tmp_path: Path) -> None:
    """An ASCII terminal, a reader that has enough, bytes that are no text: no traceback."""
    ascii_only = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    shown = python_m("train", "--help", cwd=tmp_path, **ascii_only)
    assert (shown.code, shown.err) == (0, "")
    assert "\\u03bb" in shown.out  # λ
    start = [sys.executable, "-m", "mtl_bert"]
    raw = subprocess.run([*start, b"train", b"data.dir=\xff"], capture_output=True, cwd=tmp_path)
    assert raw.returncode == 2
    assert raw.stderr.startswith(b"command line: expected UTF-8, found b'data.dir=\\xff'")
    for command in ("train", "evaluate"):
        shell = subprocess.run(
            f"set -o pipefail; {shlex.join(start)} {command} --help | true",
            shell=True, executable="/bin/bash", capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert (shell.returncode, shell.stderr) in ((141, ""), (1, ""), (0, ""))
