"""What others have written is no formula in a spreadsheet."""

import csv
import io

import pandas as pd

from mtl_bert.utils.spreadsheet import csv_text


def test_no_cell_is_a_formula() -> None:
    bad = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"]
    fine = ["-2", "+1.5e3", "−0.5", "a=b", "-7%", "two\nlines"]
    frame = pd.DataFrame({"=head": [*bad, *fine], "n": range(len(bad + fine))})
    rows = list(csv.reader(io.StringIO(csv_text(frame), newline="")))
    assert rows[0] == ["'=head", "n"]
    cells = [row[0].replace("\n=", "\r=") for row in rows[1:]]
    assert cells == [*(f"'{cell}" for cell in bad), *fine]
