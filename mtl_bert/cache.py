"""See or empty the cache of encoded texts: ``mtl-bert cache``, ``mtl-bert cache clear``."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import typer

from mtl_bert.utils import console

if TYPE_CHECKING:
    from mtl_bert.data.token_cache import Cache, Kept

MEBI, GIBI = 2**20, 2**30

app = console.application()
main = partial(console.run, app, "python -m mtl_bert.cache")


@app.callback(
    invoke_without_command=True,
    epilog="\b\nExamples\n  mtl-bert cache\n  mtl-bert cache clear",
)
def cache(context: typer.Context) -> None:
    """List or remove the encoded texts that are kept for later runs.

    $MTL_BERT_CACHE says where they lie, trainer.cache_gib how much is kept at most.
    """
    if context.invoked_subcommand is None:
        _list(_kept())


@app.command(cls=console.Command)
def clear() -> None:
    """Remove all of it; what runs have open stays theirs."""
    kept = _kept()
    gone = kept.clear()
    print(f"{kept.place}: removed {_summed(gone)}")


def _kept() -> "Cache":
    from mtl_bert.data.token_cache import Cache, directory

    return Cache(directory(), 0)


def _list(kept: "Cache") -> None:
    from rich.table import Table

    from mtl_bert.utils.screen import Screen

    entries = kept.entries()
    print(f"{kept.place}: {_summed(entries)}")
    if not entries:
        return
    table = Table("texts", "rows", "size", "last used")
    for column in table.columns[1:3]:
        column.justify = "right"
    for entry in entries:
        rows = entry.about.get("rows")
        table.add_row(
            str(entry.about.get("origin", f"{entry.path.name} (damaged)")),
            "" if rows is None else f"{rows:,}",
            _written(entry.size),
            f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}",
        )
    Screen().print(table)


def _summed(entries: Sequence["Kept"]) -> str:
    word = "entry" if len(entries) == 1 else "entries"
    return f"{len(entries):,} {word}, {_written(sum(entry.size for entry in entries))}"


def _written(size: int) -> str:
    return f"{size / GIBI:,.1f} GiB" if size >= GIBI else f"{size / MEBI:,.1f} MiB"


if __name__ == "__main__":
    main()
