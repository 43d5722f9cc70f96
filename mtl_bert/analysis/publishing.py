"""A report's files: the page, the Markdown, tables, figures and the runs, each whole or not at all.

What is published has its runs in one small file, from which anyone can make the report again,
beside runs of their own. It holds what a report reads: each run's results, and its answers to the
dev sets without their texts. Unpacked, it is a folder of finished runs.
"""

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
import vl_convert as vlc
from jinja2 import Environment, PackageLoader, StrictUndefined

from mtl_bert.analysis.blocks import Chart, Page, Table
from mtl_bert.analysis.columns import FRAMES
from mtl_bert.analysis.frames import LEFT_OUT, Frames
from mtl_bert.runs.results import RunFolder
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.files import replacing, write_text

PAGE, TEXT, TABLES, FIGURES, ARCHIVE = (
    "index.html", "report.md", "tables", "figures", "runs.tar.xz",
)  # fmt: skip


def write_report(page: Page, out: Path, pictures: Sequence[str] = ()) -> None:
    """Write everything below ``out``; the page last, when all that it names is there.

    Args:
        page: the report.
        out: a directory.
        pictures: kinds of files that figures are drawn as: svg, png.
    """
    write_small(page, out, pictures)
    write_text(out / PAGE, html(page))


def write_small(page: Page, out: Path, pictures: Sequence[str] = ("svg",)) -> set[Path]:
    """Write what is small enough to be kept beside a program: the text, tables, figures.

    Returns:
        The tables' and figures' files.
    """
    written = set()
    for block in page.blocks():
        if isinstance(block, Table):
            path = out / TABLES / f"{block.name}.csv"
            write_text(path, csv_text(block.frame))
            written.add(path)
        elif isinstance(block, Chart):
            for kind in pictures:
                path = out / FIGURES / f"{block.name}.{kind}"
                with replacing(path) as temporary:
                    temporary.write_bytes(picture(block.spec, kind))
                written.add(path)
    write_text(out / TEXT, markdown(page, with_figures="svg" in pictures))
    return written


def publish_report(page: Page, runs: pd.DataFrame, out: Path) -> None:
    """Write a report's small files and its runs; what an older one left there goes.

    Args:
        page: the report of the runs, without their texts.
        runs: the frame of those runs.
        out: a directory of its own.

    Raises:
        OSError: it cannot be written.
    """
    published_before = (out / ARCHIVE).exists()
    written = write_small(page, out)
    write_archive(runs, out / ARCHIVE)
    if published_before:
        for path in (*(out / TABLES).glob("*.csv"), *(out / FIGURES).glob("*.svg")):
            if path not in written:
                path.unlink()


def picture(spec: dict[str, Any], kind: str) -> bytes:
    """A chart as the content of an svg or png file."""
    if kind == "svg":
        return vlc.vegalite_to_svg(spec).encode()
    return vlc.vegalite_to_png(spec, scale=2)


def write_archive(runs: pd.DataFrame, path: Path) -> None:
    """Write the runs, the same bytes for the same runs; texts and this machine's paths stay here.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as temporary, tarfile.open(temporary, "w:xz") as archive:
        for name, text in _archived(runs.sort_values("run")):
            content = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _archived(runs: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Names and contents, like beside like, which packs best."""
    places = list(zip(runs["run"].astype(str), map(Path, runs["directory"]), strict=True))
    tasks: dict[str, None] = {}
    for name, directory in places:
        results = json.loads(RunFolder(directory).results.read_text("utf-8"))
        tasks |= dict.fromkeys(results["tasks"])
        text = json.dumps(without_places(results), indent=1, ensure_ascii=False)
        yield RunFolder(Path(name)).results.as_posix(), text + "\n"
    for task in tasks:
        for name, directory in places:
            source = RunFolder(directory).predictions(task)
            try:
                answers = pd.read_csv(source, dtype=str, keep_default_na=False)
                answers["text"] = LEFT_OUT
                kept = answers[["id", "text", "label", "prediction", "confidence"]]
            except (OSError, ValueError, KeyError):
                continue  # a report of the archive says so, as one of the run does
            place = RunFolder(Path(name)).predictions(task).as_posix()
            yield place, kept.to_csv(index=False, lineterminator="\n")


def without_places(node: Any) -> Any:
    """The same, but of each path of this machine only its last part."""
    if isinstance(node, Mapping):
        return {without_places(key): without_places(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_places(value) for value in node]
    if isinstance(node, str):
        key, sign, value = node.rpartition("=")  # an override, or plain words
        return f"{key}{sign}DIR/{PurePath(value).name}" if PurePath(value).is_absolute() else node
    return node


FORMULA = re.compile(r"^[=+\-@\t\n]")
_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?$")


def harmless(value: Any) -> Any:
    """The same, but of a text that a spreadsheet would calculate with a quote before it."""
    if isinstance(value, str):  # a carriage return would end the row
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    if isinstance(value, str) and FORMULA.match(value) and not _NUMBER.match(value):
        return f"'{value}"
    return value


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as a CSV file that people open in a spreadsheet: no cell of it is a formula."""
    texts = frame.select_dtypes(exclude=["number", "bool", "datetimetz"])
    safe = frame.assign(**{str(name): texts[name].astype(object).map(harmless) for name in texts})
    return str(safe.rename(columns=harmless).to_csv(index=False, lineterminator="\n"))


@cache
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script, which gives the page ``vegaEmbed``."""
    return vlc.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


def html(page: Page) -> str:
    """The page; all texts are escaped, and it runs no script but its own."""
    script, css = (_template(name) for name in ("page.js", "page.css"))
    charts = {b.name: compact(b.spec) for b in page.blocks() if isinstance(b, Chart)}
    data = {"boards": page.boards, "runs": page.runs, "kinds": page.kinds, "charts": charts}
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in (bundle(), script))
    rendered = _environment(autoescape=True).get_template("page.html.j2").render(
        page=page, data=embedded(data), bundle=bundle(), script=script, css=css, hashes=hashes,
    )  # fmt: skip
    return rendered + "\n"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def compact(node: Any) -> Any:
    """Numbers to five digits, which no screen shows more of; without what Vega-Lite assumes."""
    if isinstance(node, float):
        return float(f"{node:.5g}")
    if isinstance(node, dict):
        return {key: compact(value) for key, value in node.items() if key != "$schema"}
    if isinstance(node, list):
        return [compact(value) for value in node]
    return node


def embedded(data: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def markdown(page: Page, *, with_figures: bool = True) -> str:
    """The whole report; figures are links to their files."""
    plain = _environment(autoescape=False)
    plain.filters |= {"inner": _inner, "escaped": _escaped}
    found = plain.get_template("report.md.j2").render(page=page, with_figures=with_figures)
    return re.sub(r"\n{3,}", "\n\n", found).strip() + "\n"


@cache
def _template(name: str) -> str:
    return files("mtl_bert.analysis").joinpath("templates", name).read_text("utf-8")


@cache
def _environment(*, autoescape: bool) -> Environment:
    return Environment(
        loader=PackageLoader("mtl_bert.analysis", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _escaped(text: str) -> str:
    """Text that begins a line, where a few more signs mean something."""
    return re.sub(r"^(?:([#+-])|(\d+)([.)]))", lambda m: rf"\{m[1]}" if m[1] else rf"{m[2]}\{m[3]}",
                  _inner(text))  # fmt: skip


def _inner(text: str) -> str:
    """Text as it is, in one line: nothing in it is Markdown or HTML."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_|\[\]~!])", r"\\\1", line)


def without_texts(frames: Frames) -> Frames:
    """Frames to publish: no texts, no places of this machine, no warnings that name some.

    Raises:
        UserError: two runs of one name, of which an archive has room for one.
    """
    names = set(frames.runs["run"].astype(str))
    for name in sorted(names):
        if re.search(r" \(\d+\)$", name) and (first := name.rpartition(" (")[0]) in names:
            raise UserError(
                f"--publish: expected runs of different names, found several of {first}; "
                "rename one of the DIRs"
            )
    return replace(frames, texts=False, warnings=())


def write_frames(frames: Frames, out: Path, kind: str) -> list[Path]:
    """Write every frame as a csv or parquet file.

    Raises:
        OSError: a file cannot be written.
        UserError: parquet without the package that writes it.
    """
    if kind == "parquet" and find_spec("pyarrow") is None:
        raise UserError(
            "--to: expected the pyarrow package for parquet, found none installed; "
            "write pip install pyarrow, or --to csv"
        )
    paths = []
    for name in FRAMES:
        if name in ("leaderboard", "differences"):  # of a setting each: analysis.leaderboard
            continue
        frame = frames.predictions() if name == "predictions" else getattr(frames, name)
        plain = frame.assign(**{
            str(key): frame[key].map(_as_json) for key in frame if frame[key].dtype == object
        })  # fmt: skip
        paths.append(out / f"{name}.{kind}")
        with replacing(paths[-1]) as temporary:
            if kind == "csv":
                temporary.write_text(csv_text(plain), "utf-8")
            else:
                plain.to_parquet(temporary, index=False)
    return paths


def _as_json(value: Any) -> Any:
    """What no column of a file can hold as it is, as JSON."""
    nested = isinstance(value, (list, tuple, dict))
    return json.dumps(value, ensure_ascii=False) if nested else value
