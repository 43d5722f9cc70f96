"""See or empty the cache of encoded texts: ``python -m mtl_bert.cache``, ``... clear``."""

import argparse
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mtl_bert.data.token_cache import GIBI, VARIABLE, Cache, Kept, directory

MEBI = 2**20


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m mtl_bert.cache",
        description="Texts are encoded once and kept for later runs. This lists what is kept; "
        f"${VARIABLE} says where, trainer.cache_gib how much at most.",
    )
    commands = parser.add_subparsers(metavar="clear", dest="command")
    commands.add_parser("clear", help="remove all of it; what runs have open stays theirs")
    chosen = parser.parse_args()
    cache = Cache(directory(), 0)
    console = Console(highlight=False)
    if chosen.command == "clear":
        _clear(cache, console)
    else:
        _list(cache, console)


def _list(cache: Cache, console: Console) -> None:
    entries = cache.entries()
    console.print(f"{cache.place}: {_summed(entries)}", soft_wrap=True, markup=False)
    if not entries:
        return
    table = Table("texts", "rows", "size", "last used")
    for column in table.columns[1:3]:
        column.justify = "right"
    for entry in entries:
        rows = entry.about.get("rows")
        table.add_row(
            escape(str(entry.about.get("origin", f"{entry.path.name} (damaged)"))),
            "" if rows is None else f"{rows:,}",
            _written(entry.size),
            f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}",
        )
    console.print(table)


def _clear(cache: Cache, console: Console) -> None:
    gone = cache.clear()
    console.print(f"{cache.place}: removed {_summed(gone)}", soft_wrap=True, markup=False)


def _summed(entries: Sequence[Kept]) -> str:
    word = "entry" if len(entries) == 1 else "entries"
    return f"{len(entries):,} {word}, {_written(sum(entry.size for entry in entries))}"


def _written(size: int) -> str:
    return f"{size / GIBI:,.1f} GiB" if size >= GIBI else f"{size / MEBI:,.1f} MiB"


if __name__ == "__main__":
    main()
