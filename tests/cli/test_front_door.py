"""``mtl-bert``: one name for all commands, one line for whatever is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.driving import Command, python_m, tree
from tests.cli.test_wrong_values import refused

COMMANDS = [
    "train",
    "plan",
    "new-task",
    "evaluate",
    "predict",
    "export",
    "report",
    "sweep",
    "cache",
    "dashboard",
]


def test_help_lists_the_commands_and_imports_nothing_large(tmp_path: Path) -> None:
    script = (
        "import sys; from mtl_bert.__main__ import main; main(['--help']);"
        "large = {'torch', 'lightning', 'hydra', 'omegaconf', 'transformers', 'wandb', 'numpy',"
        "'pandas', 'altair', 'vl_convert', 'rich'}; print(sorted(large & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    *lines, imported = ended.stdout.splitlines()
    listed = [line.split() for line in lines[lines.index("Commands:") + 1 :]]
    assert [words[0] for words in listed] == COMMANDS
    assert all(words[-1].endswith(".") and not words[-1].endswith("...") for words in listed)
    assert imported == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_teaches_with_an_example(command: Command, name: str) -> None:
    shown = command(name, *(["status"] if name == "sweep" else []), "--help")
    assert (shown.code, shown.err) == (0, "")
    assert "Example" in shown.out
    assert f"mtl-bert {name}" in shown.out.partition("Example")[2]


def test_completion_offers_commands_options_and_values(tmp_path: Path) -> None:
    def offered(*words: str) -> list[str]:
        ended = subprocess.run(
            [sys.executable, "-c", "from mtl_bert.__main__ import main; main()"],
            env=os.environ
            | {
                "_MTL_BERT_COMPLETE": "complete_bash",
                "COMP_WORDS": " ".join(["mtl-bert", *words]),
                "COMP_CWORD": str(len(words)),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.stdout.split()

    assert offered("ev") == ["evaluate"]
    assert offered("predict", "runs", "--che") == ["--checkpoint"]
    assert offered("predict", "runs", "--split", "") == ["dev", "test"]


@pytest.mark.parametrize("module", ["", "evaluate"])
def test_python_m_is_the_same(tmp_path: Path, module: str) -> None:
    words = ["gone"] if module else ["evaluate", "gone"]
    ended = python_m(module or "__main__", *words, cwd=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    refused(
        ended.code,
        ended.err,
        "RUN: expected the folder of a finished run|found no results.json in gone|write",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nope", "mtl-bert: expected one of train, plan|found nope|see mtl-bert --help"),
        ("evaluat x", "mtl-bert: expected one of|found evaluat|did you mean evaluate?"),
        ("sweep", "mtl-bert sweep: expected status|found nothing|see mtl-bert sweep --help"),
        ("sweep status", "DIR: expected the folder|found nothing|mtl-bert sweep status DIR"),
        ("report", "DIR: expected|found nothing|write mtl-bert report DIR"),
        ("export x", "OUT: expected a new or empty directory|nothing|mtl-bert export RUN OUT"),
        ("evaluate a b", "expected no more arguments|found b|see mtl-bert evaluate --help"),
        ("evaluate run=x", "RUN: expected the folder of a finished run|in run=x; write"),
        ("evaluate a --nope", "--nope: expected an option|found|see mtl-bert evaluate --help"),
        ("evaluate a --checkpoint", "--checkpoint: expected a value|none|mtl-bert evaluate --help"),
        ("sweep status a --json=1", "--json: expected no value|one|mtl-bert sweep status --help"),
        (
            "new-task a",
            "--name: expected what the task is called|nothing|new-task FILE --name NAME",
        ),
        ("train --lambda 0.5 seed=1", "--lambda|write lambda=0.5"),
        ("train seed=1 --epochs=2", "--epochs=2|write epochs=2"),
        ("train epochs 3", "expected KEY=VALUE|found 'epochs'|write epochs=VALUE"),
        ("train --nope", "expected KEY=VALUE and Hydra's flags|--nope|see --help"),
        ("train seed=1 --cfg", "expected KEY=VALUE and Hydra's flags|--cfg|see --help"),
    ],
)
def test_wrong_use_is_one_line(command: Command, tmp_path: Path, words: str, message: str) -> None:
    outcome = command(*words.split())
    refused(outcome.code, outcome.err, message)
    assert outcome.out == ""
    assert tree(tmp_path) == []


def test_flags_of_hydra_may_stand_between_settings(command: Command) -> None:
    Path("mine/optimizer").mkdir(parents=True)
    Path("mine/optimizer/own.yaml").write_text("_target_: torch.optim.SGD\nlr: ${lr}\n")
    words = ["seed=7", "--config-dir", "mine", "optimizer=own", "--cfg", "job", "epochs=3"]
    shown = command("train", *words)
    assert (shown.code, shown.err) == (0, "")
    assert {"seed: 7", "epochs: 3", "  _target_: torch.optim.SGD"} <= set(shown.out.splitlines())
