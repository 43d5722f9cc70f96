"""Draw what the second study found: ``python experiments/study2_figures.py``.

Three pictures from the published runs: each sampler's scores with and without surgery, the nine
contrasts that study2.md names with their intervals, and the ladder that grows the large task.
"""

import tarfile
import tempfile
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
from study2 import CELLS, MARGIN, PUBLISHED, cell, counted, judged, laddered

from mtl_bert import analysis
from mtl_bert.analysis.publishing import ARCHIVE
from mtl_bert.runs.methods import NAMES

ASSETS = Path(__file__).parents[1] / "docs" / "assets"
SURGERY = {"PCGrad": "PCGrad", "Sum": "sum of the gradients"}
COLOURS = ("hsl(202, 100%, 35%)", "hsl(27, 100%, 45%)")
GREEN, GREY = "hsl(160, 100%, 30%)", "#888888"


def data(frame: pd.DataFrame) -> Any:
    """A chart of a frame's rows."""
    return alt.Chart(alt.Data(values=frame.to_dict("records")))  # type: ignore[no-untyped-call]


def samplers(runs: pd.DataFrame) -> Any:
    """Each sampler's scores, a dot for a seed and a bar for their mean."""
    rows = pd.concat(
        cell(runs, name, surgery).rename("score").reset_index().assign(
            sampler=NAMES.get(name, name).replace("vanilla", "proportional"), update=words
        )
        for name in CELLS for surgery, words in SURGERY.items()
    )  # fmt: skip
    order = rows.groupby("sampler")["score"].mean().sort_values(ascending=False).index.to_list()
    near = alt.Scale(zero=False, nice=False, padding=8)
    encoded: dict[str, Any] = {
        "x": alt.X("score:Q", title="dev score", scale=near),
        "y": alt.Y("sampler:N", title=None, sort=order),
        "yOffset": alt.YOffset("update:N", sort=list(SURGERY.values())),
        "color": alt.Color(
            "update:N", title="update", sort=list(SURGERY.values()),
            scale=alt.Scale(range=list(COLOURS)), legend=alt.Legend(orient="top"),
        ),
    }  # fmt: skip
    seeds = data(rows).mark_point(size=26, filled=True, opacity=0.45).encode(**encoded)
    mean = rows.groupby(["sampler", "update"], as_index=False).agg({"score": "mean"})
    means = data(mean).mark_tick(thickness=3, height=13).encode(**encoded)
    return alt.layer(seeds, means).properties(width=460, height=alt.Step(15))


def contrasts(verdicts: pd.DataFrame) -> Any:
    """Each contrast's mean and interval, the margin in grey."""
    rows = verdicts.dropna(subset="mean").assign(
        label=verdicts["contrast"] + "  " + verdicts["words"]
    )
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=330))
    margin = data(pd.DataFrame({"low": [-MARGIN], "high": [MARGIN]})).mark_rect(opacity=0.15)
    zero = data(pd.DataFrame({"x": [0]})).mark_rule(color=GREY).encode(x="x:Q")
    base = data(rows).encode(y=y, color=alt.value(COLOURS[0]))
    x = alt.X("low:Q", title="difference in the dev score")
    verdict = alt.Text("verdict:N")
    return alt.layer(
        margin.encode(x=x, x2="high:Q", color=alt.value(GREY)), zero,
        base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q"),
        base.mark_point(size=60, filled=True, opacity=1).encode(x="mean:Q"),
        base.mark_text(align="left", dx=8).encode(
            x="high:Q", text=verdict, color=alt.value("#555555")
        ),
    ).properties(width=380, height=alt.Step(26))  # fmt: skip


def ladder(found: pd.DataFrame) -> Any:
    """What each sampler adds to round-robin as the large task grows, with intervals."""
    panels = {"score": "score", "qqp": "Quora", "small": "SST and STS"}
    rows = found.assign(
        sampler=found["sampler"].map({**NAMES, "temperature": "temperature 2"}),
        ratio=found["times"].map("{} : 1".format),
        panel=found["what"].map(panels),
    )
    order = rows["sampler"].drop_duplicates().to_list()
    x = alt.X(
        "ratio:N", title="Quora : SST", sort=None,
        axis=alt.Axis(labelAngle=0),
    )  # fmt: skip
    y = alt.Y("low:Q", title="difference to round-robin")
    base = alt.Chart().encode(
        x=x, xOffset=alt.XOffset("sampler:N", sort=order),
        color=alt.Color(
            "sampler:N", title=None, sort=order, scale=alt.Scale(range=[*COLOURS, GREEN]),
            legend=alt.Legend(orient="top"),
        ),
    )  # fmt: skip
    zero = alt.Chart().mark_rule(color=GREY).encode(y=alt.datum(0))
    layers = alt.layer(
        zero, base.mark_rule(strokeWidth=2).encode(y=y, y2="high:Q"),
        base.mark_point(size=45, filled=True, opacity=1).encode(y="mean:Q"),
        data=alt.Data(values=rows.to_dict("records")),  # type: ignore[no-untyped-call]
    ).properties(width=170, height=190)  # fmt: skip
    return layers.facet(
        column=alt.Column("panel:N", title=None, sort=list(panels.values())), spacing=14
    )


def main(out: Path = ASSETS, archive: Path = PUBLISHED / ARCHIVE) -> None:
    """Unpack the published runs and draw."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        frames = analysis.read(folder)
    charts = {
        "samplers": samplers(counted(frames)),
        "contrasts": contrasts(judged(frames)),
        "ladder": ladder(laddered(frames)),
    }
    for name, chart in charts.items():
        chart.properties(background="white").save(out / f"{name}.svg")


if __name__ == "__main__":
    main()
