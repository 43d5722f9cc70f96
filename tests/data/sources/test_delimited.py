"""What real files hold, and what becomes of each row of them."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.data import DataError, Delimited
from mtl_bert.data.sources.delimited import LONGEST_RECORD
from tests.factories import assert_tells, make_task


def source_of(pair=False, **changes):
    text = ["sentence1", "sentence2"] if pair else ["sentence"]
    files = {"train": "file.tsv", "dev": "dev.tsv", "test": "file.tsv"}
    return {**files, "id": "id", "text": text, "label": "label", **changes}


@pytest.fixture
def read(tmp_path):
    """Write a file and read it as a split of a task."""

    def write_and_read(content, *, pair=False, split="train", run_separator="\t", **changes):
        raw = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "file.tsv").write_bytes(raw)
        task = make_task(pair=pair, sources={"files": source_of(pair, **changes)})
        return Delimited("files", str(tmp_path), run_separator).read(task, split)

    return write_and_read


def reasons(table):
    return [str(row) for row in table.skipped]


def test_a_plain_file(read, tmp_path):
    table = read("id\tsentence\tlabel\na\tone text\t1\nb\tanother\t0\n")
    assert table.origin == str(tmp_path / "file.tsv")
    assert table.ids == ("a", "b")
    assert table.texts == (("one text",), ("another",))
    assert table.labels.tolist() == [1, 0]
    assert table.skipped == ()


def test_no_line_break_at_the_end(read):
    assert len(read("id\tsentence\tlabel\na\tone\t1\nb\ttwo\t0")) == 2


def test_empty_lines_are_not_rows(read):
    table = read("id\tsentence\tlabel\n\na\tone\t1\n\n  \nb\t\t0\n\n")
    assert table.ids == ("a",)
    assert reasons(table) == ["file.tsv line 6: sentence is missing"]


def test_an_index_column_without_a_name(read):
    table = read("\tid\tsentence\tlabel\n0\ta\tone\t1\n1\tb\ttwo\t0\n")
    assert table.ids == ("a", "b")
    assert table.texts == (("one",), ("two",))


def test_labels_written_as_floats(read):
    assert read("id\tsentence\tlabel\na\tone\t1.0\nb\ttwo\t0.0\n").labels.tolist() == [1, 0]


def test_doubled_quotes_in_a_quoted_field(read):
    table = read('id\tsentence\tlabel\na\t"she said ""no"" twice"\t1\nb\t"""all"" of it"\t0\n')
    assert table.texts == (('she said "no" twice',), ('"all" of it',))
    assert table.skipped == ()


def test_a_separator_in_a_quoted_field(read):
    assert read('id\tsentence\tlabel\na\t"one\ttwo"\t1\n').texts == (("one\ttwo",),)


def test_a_quote_amid_an_unquoted_field(read):
    table = read('id\tsentence\tlabel\na\ta 5" screen\t1\nb\tthe "best" one\t0\nc\tx"\t0\n')
    assert table.texts == (('a 5" screen',), ('the "best" one',), ('x"',))
    assert table.skipped == ()


def test_a_quoted_beginning_of_a_field_costs_nothing(read):
    table = read('id\tsentence\tlabel\na\t"Best" is a word\t1\nb\ttwo\t0\n')
    assert [text.replace('"', "") for (text,) in table.texts] == ["Best is a word", "two"]
    assert table.skipped == ()


def test_a_quoted_field_with_line_breaks(read):
    table = read('id\tsentence\tlabel\na\t"one\n\ntwo"\t1\nb\tthree\tx\n')
    assert table.texts == (("one\n\ntwo",),)
    # The row after it is still called by its own line.
    assert reasons(table) == ["file.tsv line 5: label 'x' is not a number"]


@pytest.mark.parametrize(
    "header", ["id\tsentence\tlabel", "id\tlabel\tsentence", "sentence\tid\tlabel"]
)
@pytest.mark.parametrize("others", ["plain", '"quoted"', 'with a 5" quote', '"so" it begins'])
def test_a_quote_that_is_never_closed_costs_one_row(read, header, others):
    """Wherever the text stands, and whatever quotes the rows after it have."""
    names = header.split("\t")
    rows = [
        {"id": f"row{number}", "sentence": others, "label": "1"}
        for number in range(3 * LONGEST_RECORD)
    ]
    rows[1]["sentence"] = '"an opening'
    lines = [header, *("\t".join(row[name] for name in names) for row in rows)]
    table = read("\n".join(lines) + "\n")
    assert reasons(table) == ["file.tsv line 3: a quote is opened and not closed"]
    assert table.ids == tuple(row["id"] for row in rows if row["id"] != "row1")
    assert {text.strip('"') for (text,) in table.texts} == {
        others if others.startswith("with") else others.replace('"', "")
    }


def test_a_quote_that_is_never_closed_in_the_last_row(read):
    table = read('id\tsentence\tlabel\na\tone\t1\nb\t"two\t0')
    assert table.ids == ("a",)
    assert reasons(table) == ["file.tsv line 3: a quote is opened and not closed"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("b\ttwo\t", "label is missing"),
        ("b\t\t1", "sentence is missing"),
        ("\ttwo\t1", "id is missing"),
        ("b\ttwo", "expected 3 fields, found 2"),
        ("b", "expected 3 fields, found 1"),
        ("b\ttwo\t1\t", "expected 3 fields, found 4"),
        ('b\t"two"\t1\t"more"', "expected 3 fields, found 4"),
    ],
)
def test_a_row_that_cannot_be_used_is_reported_by_line(read, row, reason):
    table = read(f"id\tsentence\tlabel\na\tone\t1\n{row}\nc\tthree\t0\n")
    assert table.ids == ("a", "c")
    assert reasons(table) == [f"file.tsv line 3: {reason}"]


def test_a_pair_without_its_second_text(read):
    header = "id\tsentence1\tsentence2\tlabel"
    table = read(f"{header}\na\tone\ttwo\t1\nb\tthree\t\t1\n", pair=True)
    assert table.texts == (("one", "two"),)
    assert reasons(table) == ["file.tsv line 3: sentence2 is missing"]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_line_breaks_of_all_systems(read, line_break):
    lines = ["id\tsentence\tlabel", "a\tone\t1", 'b\t"two"\t0', "c\tthree\t"]
    table = read(line_break.join(lines) + line_break)
    assert table.texts == (("one",), ("two",))
    assert reasons(table) == ["file.tsv line 4: label is missing"]


def test_a_carriage_return_amid_a_line_costs_at_most_its_row(read):
    table = read('id\tsentence\tlabel\na\tone\rtwo "x"\t1\nb\tthree\t0\n')
    assert table.ids[-1] == "b"
    assert len(table) + len(table.skipped) == 2


def test_a_byte_order_mark_is_not_part_of_the_first_column(read):
    table = read("\ufeffid\tsentence\tlabel\na\tone\t1\n".encode())
    assert table.ids == ("a",)


def test_bytes_that_are_not_utf8_cost_their_row(read):
    table = read("id\tsentence\tlabel\na\tcafé\t1\n".encode() + b"b\tcaf\xe9\t1\nc\tx\t0\n")
    assert table.texts == (("café",), ("x",))
    assert reasons(table) == ["file.tsv line 3: the text is not UTF-8"]
    table.origin.encode()
    "".join(reasons(table)).encode()  # can be printed


def test_comma_separated(read):
    table = read('id,sentence,label\na,"one, two",1\n', run_separator=",")
    assert table.texts == (("one, two",),)


def test_a_task_may_have_a_separator_of_its_own(read):
    assert read("id;sentence;label\na;one\ttwo;1\n", separator=";").texts == (("one\ttwo",),)


def test_the_test_split_needs_no_labels(read):
    table = read("id\tsentence\na\tone\n", split="test")
    assert table.labels is None
    assert table.texts == (("one",),)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["file.tsv", "header", "an empty file"]),
        (b"\xef\xbb\xbf", ["file.tsv", "an empty file"]),
        (b"\n\n", ["file.tsv", "an empty file"]),
        (b"\nid\tsentence\tlabel\n", ["file.tsv", "an empty line"]),
        (b"id\tsentence\tlabel\n", ["file.tsv", "rows", "found 0"]),
        (b"PAR1\0\0\x15\x04", ["file.tsv", "binary", r"'\t'"]),
        ("id\tsentence\tlabel\na\tone\t1\n".encode("utf-16"), ["file.tsv", "binary"]),
        (b"id\ttext\tlabel\na\tone\t1\n", ["file.tsv", "'id', 'text', 'label'", "sentence"]),
        (b"id,sentence,label\na,one,1\n", ["file.tsv", "'id,sentence,label'"]),
        (b'id\t"sentence\tlabel\na\tone\t1\n', ["file.tsv", "none", "sentence"]),
        (b"id\tsentence\tlabel\na\tone\nb\ttwo\n", ["file.tsv", "line 2", "found 2"]),
        (b"id\ts\xe9ntence\tlabel\na\tone\t1\n", ["file.tsv", "sentence"]),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_for_users(read, content, parts):
    with pytest.raises(DataError) as raised:
        read(content)
    assert_tells(raised.value, *parts)
    str(raised.value).encode()  # can be printed


def test_a_file_that_is_not_there(tmp_path):
    task = make_task(sources={"files": source_of(dev="elsewhere.tsv")})
    with pytest.raises(DataError) as raised:
        Delimited("files", str(tmp_path)).read(task, "dev")
    assert_tells(raised.value, str(tmp_path / "elsewhere.tsv"), "toy", "data.dir")


def test_a_split_without_a_file(tmp_path):
    source = source_of()
    del source["dev"]
    with pytest.raises(DataError) as raised:
        Delimited("files", str(tmp_path)).read(make_task(sources={"files": source}), "dev")
    assert_tells(raised.value, "toy", "dev", "sources.files.dev")


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(DataError) as raised:
        Delimited("files", str(tmp_path / "nowhere"))
    assert_tells(raised.value, "nothing", str(tmp_path / "nowhere"), "data.dir=DIR")
    with pytest.raises(DataError) as raised:
        Delimited("files", None)
    assert_tells(raised.value, "nothing", "data.dir=DIR")
    (tmp_path / "file").touch()
    with pytest.raises(DataError) as raised:
        Delimited("files", str(tmp_path / "file"))
    assert_tells(raised.value, "a file", "data.dir=DIR")


def test_a_misspelt_column_key(read):
    with pytest.raises(DataError) as raised:
        read("id\tsentence\tlabel\na\tone\t1\n", labels="label")
    assert_tells(raised.value, "toy", "labels")


# Few letters, so that separators, quotes and line breaks meet; and any letter at all.
texts = (
    (st.text(st.sampled_from('ab" \t\n,')) | st.text(st.characters(exclude_characters="\0\r")))
    .filter(lambda text: text.strip() and text.count("\n") < LONGEST_RECORD // 2)
    .filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text))
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@given(
    rows=st.lists(st.tuples(texts, texts, st.sampled_from(["0", "1", "0.0", "1.0"])), min_size=1),
    line_break=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    order=st.permutations(["sentence1", "sentence2", "label"]),
)
def test_what_a_csv_writer_writes_comes_back(directory, rows, line_break, quoting, order):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter="\t", lineterminator=line_break, quoting=quoting)
    writer.writerow(order)
    for row in rows:
        fields = dict(zip(("sentence1", "sentence2", "label"), row, strict=True))
        writer.writerow([fields[name] for name in order])
    (directory / "file.tsv").write_bytes(file.getvalue().encode())
    task = make_task(pair=True, sources={"files": source_of(pair=True, id=None)})
    table = Delimited("files", str(directory)).read(task, "train")
    assert table.skipped == ()
    assert table.texts == tuple((a.strip(), b.strip()) for a, b, _ in rows)
    assert table.labels.tolist() == [float(label) for _, _, label in rows]
