"""A report's files: the page, the Markdown, tables, figures and the runs, each whole or not at all.

What is published has its runs in an archive, from which anyone can make the report again, beside
runs of their own.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html import escape as html_escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import vl_convert as vlc
from jinja2 import Environment, PackageLoader, StrictUndefined

from mtl_bert.analysis.blocks import Chart, Page, Table, blocks
from mtl_bert.analysis.frames import PER_RUN, Frames
from mtl_bert.runs.archive import write_archive
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.files import replacing, write_text
from mtl_bert.utils.spreadsheet import csv_text

PAGE, TEXT, ARCHIVE = "index.html", "report.md", "runs.tar.xz"
TABLES, FIGURES = "tables", "figures"


def write_report(page: Page, out: Path, pictures: Sequence[str] = ()) -> None:
    """Write everything below ``out``; the page last, when all that it names is there.

    ``pictures`` are the kinds of files that figures are drawn as: svg, png.
    """
    write_small(page, out, pictures)
    write_text(out / PAGE, html(page))


def write_small(page: Page, out: Path, pictures: Sequence[str]) -> set[Path]:
    """Write the text, tables and figures; returns their places."""
    contents = {out / TEXT: markdown(page, with_figures="svg" in pictures).encode()}
    for block in blocks(page.studies):
        if isinstance(block, Table):
            contents[out / TABLES / f"{block.name}.csv"] = csv_text(block.frame).encode()
        elif isinstance(block, Chart):
            for kind in pictures:
                contents[out / FIGURES / f"{block.name}.{kind}"] = picture(block.spec, kind)
    for path, content in contents.items():
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    return {*contents}


def publish_report(page: Page, runs: pd.DataFrame, out: Path) -> None:
    """Write a report's small files, without texts, and its runs; what an older one left goes."""
    older = {*(out / TABLES).glob("*.csv"), *(out / FIGURES).glob("*.svg")}
    older = older if (out / ARCHIVE).exists() else set()
    written = write_small(page, out, ("svg",))
    write_archive(runs.set_index("run")["directory"].to_dict(), out / ARCHIVE)
    for path in older - written:
        path.unlink(missing_ok=True)


def picture(spec: dict[str, Any], kind: str) -> bytes:
    """A chart as the content of an svg or png file."""
    if kind == "svg":
        return vlc.vegalite_to_svg(spec).encode()
    return vlc.vegalite_to_png(spec, scale=2)


def html(page: Page) -> str:
    """The page; all texts are escaped, and it runs no script but its own."""
    script, css = (files("mtl_bert.analysis").joinpath("templates", f"page.{x}").read_text("utf-8")
                   for x in ("js", "css"))  # fmt: skip
    # Vega, Vega-Lite and vega-embed, as one script that gives the page vegaEmbed.
    vega = vlc.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    digests = (hashlib.sha256(text.encode()).digest() for text in (vega, script))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    specs = {b.name: b.spec for b in blocks([*page.studies, *page.views]) if isinstance(b, Chart)}
    # Numbers to five digits: no screen shows more of them.
    charts = json.loads(json.dumps(specs), parse_float=lambda n: float(f"{float(n):.5g}"))
    # Every text is escaped, and JSON cannot end its element.
    jinja = Environment(
        loader=PackageLoader("mtl_bert.analysis", "templates"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    jinja.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return jinja.get_template("page.html.j2").render(
        page=page, charts=charts, vega=vega, script=script, css=css, hashes=hashes
    )


def markdown(page: Page, *, with_figures: bool = True) -> str:
    """The answers in short, and the names of the files that say more."""
    found: list[str] = []
    for number, s in enumerate(page.studies):
        badges = (f"**{word.upper()}**: {_inner(why)}." for word, why in s.badges)
        answer = f"**{_inner(s.answer)}**" if s.answer else ""
        found += [f"{'##' if number else '#'} {_inner(s.title)}", " ".join(badges), _inner(s.lead),
                  answer]  # fmt: skip
        for b in blocks([s]):
            if isinstance(b, Table) and (b.told or b in s.first):
                found += [f"**{_inner(b.title)}**", _rows(b), _inner(b.caption)]
            elif isinstance(b, Chart) and with_figures and b in s.first:
                found.append(f"!{_link(b)}")
        kinds = (Table, Chart) if with_figures else Table
        named = {title: [_link(b) for b in own if isinstance(b, kinds)]
                 for title, own in s.sections.items()}  # fmt: skip
        lines = (f"- {title}: {', '.join(links)}" for title, links in named.items() if links)
        found.append("\n".join(lines))
    if page.warnings:
        found += ["## Left out", "\n".join(f"- at {_inner(warning)}" for warning in page.warnings)]
    return "\n\n".join(filter(None, found)) + "\n"


def _link(b: Table | Chart) -> str:
    """The name of a file, and where it lies."""
    place = f"{TABLES}/{b.name}.csv" if isinstance(b, Table) else f"{FIGURES}/{b.name}.svg"
    return f"[{_inner(b.title)}]({place})"


def _rows(t: Table) -> str:
    """A table without the columns that are hidden or have no text."""
    shown = [c.name == t.shown or not c.name.endswith(".against") for c in t.columns]
    places = [n for n, here in enumerate(shown) if here and any(row[n].text for row in t.rows)]
    lines = [[_inner(t.columns[n].title) for n in places],
             ["---:" if t.columns[n].form else "---" for n in places],
             *([_inner(row[n].text) for n in places] for row in t.rows)]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _inner(text: str) -> str:
    """Text as it is, within a line: nothing in it is Markdown or HTML."""
    line = html_escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_|\[\]~!])", r"\\\1", line)


def write_frames(frames: Frames, out: Path, kind: str) -> list[Path]:
    """Write every frame as a csv or parquet file.

    Raises:
        UserError: parquet without the package that writes it.
    """
    if kind == "parquet" and find_spec("pyarrow") is None:
        raise UserError(
            "--to: expected the pyarrow package for parquet, found none installed; "
            "write pip install pyarrow, or --to csv"
        )
    paths = []
    for name in ("runs", "settings", *PER_RUN, "predictions"):
        frame = frames.predictions() if name == "predictions" else getattr(frames, name)
        nested = {str(key): own.map(_as_json) for key, own in frame.items() if own.dtype == object}
        frame = frame.assign(**nested)
        paths.append(out / f"{name}.{kind}")
        with replacing(paths[-1]) as temporary:
            if kind == "csv":
                temporary.write_text(csv_text(frame), "utf-8")
            else:
                frame.to_parquet(temporary, index=False)
    return paths


def _as_json(value: Any) -> Any:
    """What no column of a file can hold as it is, as JSON."""
    nested = isinstance(value, (list, tuple, dict))
    return json.dumps(value, ensure_ascii=False) if nested else value
