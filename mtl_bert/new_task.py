"""Make a task of a file of one's own: ``mtl-bert new-task FILE --name NAME``."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mtl_bert.utils import console
from mtl_bert.utils.errors import UserError, say
from mtl_bert.utils.files import write_text

EXAMPLES = """\b
Examples
  mtl-bert new-task reviews.csv --name reviews
  mtl-bert new-task pairs.jsonl --name nli --dev dev.jsonl --text-column a --text2-column b
  mtl-bert new-task in_domain_train.tsv --name grammar --no-header --text-column 3 --label-column 1
"""
app = console.application()
main = partial(console.run, app, "python -m mtl_bert.new_task")
COLUMN: dict[str, Any] = {"metavar": "COL"}
FILE: dict[str, Any] = {"metavar": "FILE"}


def _option(help: str, **more: Any) -> Any:  # noqa: A002
    return typer.Option(help=help, **more)


@app.command("new-task", cls=console.Command, epilog=EXAMPLES)
def new_task(
    file: Annotated[
        Path, typer.Argument(**FILE, help="training examples: .csv, .tsv, .jsonl or .parquet")
    ],
    name: Annotated[str, _option("What the task is called.", metavar="NAME")],
    dev: Annotated[
        Path | None, _option("Dev examples; without it, some of FILE's rows.", **FILE)
    ] = None,
    test: Annotated[Path | None, _option("Rows to predict, without labels.", **FILE)] = None,
    text_column: Annotated[str | None, _option("The column of the text.", **COLUMN)] = None,
    text2_column: Annotated[
        str | None, _option("The column of a pair's second text.", **COLUMN)
    ] = None,
    label_column: Annotated[
        list[str] | None,
        _option("The column of the label; once for each class if there are several.", **COLUMN),
    ] = None,
    id_column: Annotated[str | None, _option("The column of the rows' names.", **COLUMN)] = None,
    kind: Annotated[
        Literal["classes", "number", "labels", "shares"] | None,
        _option(
            "What labels are: one of several classes, a number, several labels at once, or "
            "a share for each class."
        ),
    ] = None,
    out: Annotated[Path, _option("The directory that gets task/NAME.yaml.", metavar="DIR")] = Path(
        "my_conf"
    ),
    header: Annotated[
        bool, _option("Whether the first line names the columns; else they are 0, 1, …")
    ] = True,
    quoting: Annotated[
        Literal["minimal", "none"],
        _option("How texts are quoted; none where a quote is a letter like others."),
    ] = "minimal",
    separator: Annotated[
        str | None, _option("What stands between columns.", metavar="TEXT")
    ] = None,
    encoding: Annotated[
        str, _option("How the files' characters are written: utf-16, latin-1, …", metavar="NAME")
    ] = "utf-8",
    label_separator: Annotated[
        str, _option("What stands between several labels.", metavar="TEXT")
    ] = ",",
    dev_share: Annotated[
        float, _option("The share of FILE that is the dev set, without --dev.")
    ] = 0.1,
) -> None:
    """Look at a data file, and write the task that reads it."""
    import yaml  # not before the command line is right
    from pydantic import ValidationError

    from mtl_bert.data import proposal
    from mtl_bert.data.sources.delimited import FilePlace

    target = out / "task" / f"{name}.yaml"
    if not name.isidentifier():
        raise UserError(
            f"--name: expected letters, digits and _, found {name!r}; write --name my_task"
        )
    if target.exists():
        raise UserError(
            f"{target}: expected no such file yet, found one; delete it, or write another --name"
        )
    try:
        "".encode(encoding)
    except LookupError:
        raise UserError(
            f"--encoding: expected an encoding, found {encoding!r}; write --encoding latin-1"
        ) from None
    if test is not None and not test.is_file():
        raise UserError(f"--test: expected a file, found none at {test}; name another")
    given = {"--text-column": text_column, "--text2-column": text2_column}
    if text2_column and not text_column:
        raise UserError(
            "--text-column: expected a column beside --text2-column, found none; write both"
        )
    texts, labels = [text for text in given.values() if text], label_column or []
    delimited = file.suffix not in (".jsonl", ".ndjson", ".parquet") and file.is_file()
    written: dict[str, Any] = {}
    if delimited:
        written = {"separator": separator or proposal.separator_of(file, encoding)}
        written |= {} if encoding == "utf-8" else {"encoding": encoding}
        written |= {} if header else {"header": False}
        written |= {} if quoting == "minimal" else {"quoting": quoting}
    try:
        place = FilePlace(**{"separator": ",", "text": ["-"], "label": "-", **written})
    except ValidationError:
        raise UserError(
            f"--separator: expected one character, found {separator!r}; write --separator ';'"
        ) from None
    looks = [proposal.look(path, place) for path in (file, dev) if path is not None]
    texts, labels = proposal.chosen(looks[0], texts, labels)
    if missing := [c for c in (*texts, *labels) if c not in looks[-1].columns]:
        raise UserError(
            f"{looks[-1].path}: expected the columns of {file}, found no {missing[0]}; name "
            "another --dev"
        )
    columns = [looks[0].columns[label] for label in labels]
    wanted = proposal.kind_of(columns, kind)
    for look in looks[1:]:  # a class or an end of the scale may be there alone
        for column in columns:
            other = look.columns[column.name]
            column.values.update(other.values)
            column.low, column.high = min(column.low, other.low), max(column.high, other.high)
    files = {"train": str(file.absolute())}
    files |= {"dev": str(dev.absolute())} if dev else {}
    files |= {"test": str(test.absolute())} if test else {}
    source = files | {"text": texts, "label": labels[0] if len(labels) == 1 else labels} | written
    source |= {"id": id_column} if id_column else {}
    source |= {} if dev else {"dev_share": dev_share}
    blank = any(each.columns[label].filled < each.rows - len(each.faults)
                for each in looks for label in labels)  # fmt: skip
    source |= {"blanks": True} if blank else {}
    source |= {"label_separator": label_separator} if wanted == "labels" else {}
    node = {"pair": len(texts) == 2, **proposal.proposed(wanted, columns, label_separator)}
    node["sources"] = {"files": source}
    for line in proposal.told(looks[0], texts, labels, wanted):
        say(line)
    used_columns = (*texts, *labels, id_column)
    if unused := [column for column in looks[0].columns if column not in used_columns]:
        pair = "" if len(texts) == 2 else "; --text2-column COLUMN makes one a pair's second text"
        say(f"not used: {', '.join(unused)}{pair}")
    usable = _tried(name, node)
    if not dev:
        say(f"dev: {dev_share:.0%} of these rows, drawn by their texts; --dev FILE names others")
    used = ", ".join(f"{count:,} {split}" for split, count in usable.items())
    metrics, of = node["metrics"], node["score"].get("of", node["metrics"][:1])
    say(f"examples: {used}; metrics {', '.join(metrics)}, of which {of[0]} counts for the score")
    if len(names := node["head"].get("names", ())) == 2 and "f1" in metrics:
        say(f"f1 is that of {names[1]}; write the names the other way round for {names[0]}'s")
    head = f"# @package tasks.{name}\n# {wanted.capitalize()} of {file.name}.\n"
    write_text(
        target,
        head + yaml.safe_dump(node, sort_keys=False, allow_unicode=True, default_flow_style=None),
    )
    say(f"written to {target}; train it:")
    say(f"  mtl-bert train --config-dir {shlex.quote(str(out))} 'task=[{name}]' data=files")


def _tried(name: str, node: dict[str, Any]) -> dict[str, int]:
    """The usable examples of both splits; UserError if the task is none."""
    import torch  # takes seconds

    from mtl_bert.data.corpus import Corpus
    from mtl_bert.data.sources.delimited import Delimited
    from mtl_bert.runs.factories import make

    task = make({"_target_": "mtl_bert.tasks.Task", "name": name, **node}, f"tasks.{name}")
    task.try_out(torch.float32)
    corpus = Corpus(Delimited("files", "."), [task], max_bad_share=0.5)
    return {split: len(corpus.read(split)[name]) for split in ("train", "dev")}


if __name__ == "__main__":
    main()
