"""A report as Markdown."""

import re

from mtl_bert.analysis.document import (
    Answers,
    Block,
    Cell,
    Commands,
    Document,
    Figure,
    Points,
    Section,
    Table,
    Text,
)


def markdown(document: Document) -> str:
    """The whole report; figures are links to their files."""
    parts = [f"# {_escaped(document.title)}", *map(_escaped, document.lead)]
    for section in document.sections:
        parts += _section(section, 2)
    return "\n\n".join(parts) + "\n"


def _section(section: Section, level: int) -> list[str]:
    parts = [f"{'#' * level} {_escaped(section.heading)}"]
    for block in section.blocks:
        parts += _block(block)
    for inner in section.sections:
        parts += _section(inner, level + 1)
    return parts


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return [_escaped(block.words)]
    if isinstance(block, Points):
        return ["\n".join(f"- {_escaped(item)}" for item in block.items)]
    if isinstance(block, Commands):
        items = (f"- {_escaped(name)}\n\n      {command}" for name, command in block.items)
        return [_escaped(block.lead), "\n".join(items)]
    if isinstance(block, Answers):
        return [f"**{_inner(question)}** {_inner(answer)}" for question, answer in block.items]
    if isinstance(block, Table):
        return _table(block)
    return _figure(block)


def _table(table: Table) -> list[str]:
    heads = "|".join(f" {_inner(column.whole)} " for column in table.columns)
    rules = "|".join("---:" if column.numeric else "---" for column in table.columns)
    rows = ["|" + "|".join(f" {_cell(cell)} " for cell in row) + "|" for row in table.rows]
    notes = [f"[{number}] {_escaped(note)}" for number, note in enumerate(table.notes, start=1)]
    parts = [f"**{_escaped(table.title)}**", "\n".join([f"|{heads}|", f"|{rules}|", *rows])]
    if table.caption:
        parts.append(_escaped(table.caption))
    return [*parts, *notes]


def _cell(cell: Cell) -> str:
    text = _inner(cell.text)
    if cell.link:
        text = f"[{text}]({cell.link})"
    return f"**{text}**" if cell.bold and text else text


def _figure(figure: Figure) -> list[str]:
    picture = f"![{_escaped(figure.description)}](figures/{figure.name}.svg)"
    parts = [f"**{_escaped(figure.title)}**", picture]
    return [*parts, _escaped(figure.caption)] if figure.caption else parts


def _escaped(text: str) -> str:
    """Text that begins a line, where a few more signs mean something."""
    return re.sub(r"^([#+-])", r"\\\1", _inner(text))


def _inner(text: str) -> str:
    """Text as it is, in one line: nothing in it is Markdown or HTML."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", line)
