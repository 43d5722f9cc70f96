"""What real files hold, and what becomes of each row of them."""

import csv
import gzip
import io
import warnings

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_bert.data.sources.delimited import AHEAD, HELD, Delimited, FilePlace, _Lines, _rows
from mtl_bert.data.table import DataError
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


@pytest.mark.parametrize(
    ("name", "between", "said"),
    [("a.tsv", "\t", {}), ("a.csv", ",", {}), ("a.tsv", ";", {"separator": ";"})],
)
def test_a_name_says_what_separates_fields_unless_the_task_does(tmp_path, name, between, said):
    (tmp_path / name).write_text(f"id{between}sentence{between}label\na{between}one{between}1\n")
    task = make_task(sources={"files": source_of(train=name, **said)})
    assert Delimited("files", str(tmp_path)).read(task, "train").texts == (("one",),)


def test_whoever_names_no_separator_is_told_to(tmp_path):
    (tmp_path / "a.csv").write_text("id;sentence;label\na;one;1\n")
    task = make_task(sources={"files": source_of(train="a.csv")})
    with pytest.raises(DataError) as refused:
        Delimited("files", str(tmp_path)).read(task, "train")
    assert_tells(refused.value, "found 'id;sentence;label'; write as separator: what stands")


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


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ('"Best" is a word', "text after a closing quote"),
        ('"She said "no" twice"', "text after a closing quote"),
        (r'"She said \"no\" twice"', "text after a closing quote"),
        (r"She said \"no\" twice", "a backslash before a quote"),
        ('"She said', "a quote that is not closed"),
        (r'"She said \""', "a quote that is not closed"),
    ],
)
def test_quotes_that_may_mean_two_things_are_reported_or_read_to_the_letter(read, field, reason):
    content = f"id\tsentence\tlabel\na\t{field}\t1\nb\ttwo\t0\n"
    table = read(content)
    assert table.ids == ("b",)
    assert reasons(table) == [f"file.tsv line 2: {reason}"]
    table = read(content, quoting="none")
    assert table.texts == ((field,), ("two",))
    assert table.skipped == ()


@pytest.mark.parametrize("field", [r'"a \""b\"" c"', r'"ends with a \"', r"C:\dir", 'a 5"'])
def test_quotes_and_backslashes_that_mean_one_thing(read, field):
    (row,) = csv.reader([field], strict=True)
    assert read(f"id\tsentence\tlabel\na\t{field}\t1\n").texts == ((row[0],),)


def test_a_quoted_field_with_line_breaks(read):
    table = read('id\tsentence\tlabel\na\t"one\n\ntwo"\t1\nb\tthree\tx\n')
    assert table.texts == (("one\n\ntwo",),)
    # The row after it is still called by its own line.
    assert reasons(table) == ["file.tsv line 5: label 'x' is not a number or one of no, yes"]


def test_a_long_quoted_text_is_one_text(read):
    """Even if its lines look like rows."""
    text = "\n".join(f"{number}\ttext\t1" for number in range(2000))
    table = read(f'id\tsentence\tlabel\na\t"{text}"\t1\nb\ttwo\t0\n')
    assert table.texts == ((text,), ("two",))
    assert table.skipped == ()


@pytest.mark.parametrize("last", ["", 'c\tclosed"\t1\n'])
def test_a_text_longer_than_the_csv_modules_limit(read, last):
    text = "ab " * 100_000
    table = read(f'id\tsentence\tlabel\na\t"{text}"\t1\nb\t{text}\t0\n')
    assert table.texts == ((text.strip(),),) * 2


@pytest.mark.parametrize("order", [("id", "text", "label"), ("label", "id", "text")])
@pytest.mark.parametrize("between", [0, 1, 30])
def test_rows_that_stray_quotes_seem_to_glue_are_reported(read, order, between):
    """Three rows, or a row with a text of three lines: nobody can tell."""
    texts = ["before", '"opened', *["foo"] * between, 'closed"', "after"]
    rows = [{"id": f"r{n}", "text": text, "label": "1"} for n, text in enumerate(texts)]
    lines = ["\t".join(order), *("\t".join(row[name] for name in order) for row in rows)]
    table = read("\n".join(lines), text=["text"])
    assert table.texts == (("before",), ("after",))
    last = 3 + between + 1
    reason = f"one text in quotes or several rows, lines 3 to {last}"
    assert reasons(table) == [f"file.tsv line {line}: {reason}" for line in range(3, last + 1)]
    to_the_letter = read("\n".join(lines), text=["text"], quoting="none")
    assert to_the_letter.texts == tuple((text,) for text in texts)


def test_stray_quotes_in_the_two_texts_of_pairs(read):
    rows = ['a\t"one\ttwo\t1', "b\tthree\tfour\t1", 'c\tfive\tsix"\t1', "d\tx\ty\t0"]
    table = read("id\tsentence1\tsentence2\tlabel\n" + "\n".join(rows), pair=True)
    assert table.ids == ("d",)
    assert len(table.skipped) == 3


@pytest.mark.parametrize(
    "header", ["id\tsentence\tlabel", "id\tlabel\tsentence", "sentence\tid\tlabel"]
)
@pytest.mark.parametrize("others", ["plain", '"quoted"', 'with a 5" quote'])
def test_a_quote_that_is_never_closed_costs_one_row(read, header, others):
    """Wherever the text stands, and whatever quotes the rows after it have."""
    names = header.split("\t")
    rows = [{"id": f"row{n}", "sentence": others, "label": "1"} for n in range(60)]
    rows[1]["sentence"] = '"an opening'
    lines = [header, *("\t".join(row[name] for name in names) for row in rows)]
    table = read("\n".join(lines) + "\n")
    assert reasons(table) == ["file.tsv line 3: a quote that is not closed"]
    assert table.ids == tuple(row["id"] for row in rows if row["id"] != "row1")
    assert {text for (text,) in table.texts} == {others.strip('"')}


def test_a_text_that_the_end_of_the_file_cuts_is_not_cut_into_rows(read):
    lines = ["id\tlabel\tsentence", "a\t1\tone", 'b\t"two', "c\t1\tthree", "d\t1\tfour"]
    table = read("\n".join(lines))
    assert table.ids == ("a",)
    assert len(table.skipped) == 3


def test_a_quote_that_is_never_closed_in_the_last_row(read):
    table = read('id\tsentence\tlabel\na\tone\t1\nb\t"two\t0')
    assert table.ids == ("a",)
    assert reasons(table) == ["file.tsv line 3: a quote that is not closed"]


def test_a_file_of_stray_quotes_is_read_in_time_that_grows_with_it(read):
    quotes = ['"', '""""', '"""']
    rows = "".join(f"r{n}\t{quotes[n % 3]}odd {n}\t1\n" for n in range(20_000))
    with pytest.raises(DataError, match="20000 and none that can be used"):
        read("id\tsentence\tlabel\n" + rows)


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


def test_a_carriage_return_ends_a_row_like_other_line_breaks(read):
    table = read('id\tsentence\tlabel\na\tone\rtwo "x"\t1\nb\tthree\t0\n')
    assert table.ids == ("b",)
    assert reasons(table) == [f"file.tsv line {n}: expected 3 fields, found 2" for n in (2, 3)]


def test_a_byte_order_mark_is_not_part_of_the_first_column(read):
    table = read("\ufeffid\tsentence\tlabel\na\tone\t1\n".encode())
    assert table.ids == ("a",)


def test_bytes_that_are_not_utf8_cost_their_row(read):
    table = read("id\tsentence\tlabel\na\tcafé\t1\n".encode() + b"b\tcaf\xe9\t1\nc\tx\t0\n")
    assert table.texts == (("café",), ("x",))
    assert reasons(table) == ["file.tsv line 3: text that is not UTF-8"]
    table.origin.encode()
    "".join(reasons(table)).encode()  # can be printed


def test_comma_separated(read):
    table = read('id,sentence,label\na,"one, two",1\n', run_separator=",")
    assert table.texts == (("one, two",),)


def test_a_task_may_have_a_separator_of_its_own(read):
    assert read("id;sentence;label\na;one\ttwo;1\n", separator=";").texts == (("one\ttwo",),)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_wide_letters_are_named_and_can_be_read(read, encoding):
    raw = "id\tsentence\tlabel\na\tcafé 日本\t1\n".encode(encoding)
    with pytest.raises(DataError) as raised:
        read(raw)
    assert_tells(raised.value, "file.tsv", encoding.upper(), f"write encoding: {encoding}")
    assert read(raw, encoding=encoding).texts == (("café 日本",),)


def test_a_single_nul_costs_its_row(read):
    table = read("id\tsentence\tlabel\na\to\0ne\t1\nb\ttwo\t0\n")
    assert table.texts == (("two",),)
    assert reasons(table) == ["file.tsv line 2: a NUL byte"]


def test_bytes_of_a_named_encoding(read):
    raw = "id\tsentence\tlabel\na\tcafé “x”\t1\n".encode("cp1252")
    assert read(raw, encoding="cp1252").texts == (("café “x”",),)
    with pytest.raises(DataError) as raised:
        read(raw, encoding="utf-16")
    assert_tells(raised.value, "file.tsv", "utf-16", "encoding:")


def test_columns_by_number(read):
    table = read("a\t1\tone\nb\t0\ttwo\n", header=False, id=0, text=[2], label=1)
    assert table.ids == ("a", "b")
    assert table.texts == (("one",), ("two",))
    assert table.labels.tolist() == [1, 0]
    with pytest.raises(DataError) as raised:
        read("a\t1\tone\n", header=False, id=None, text=[3], label=1)
    assert_tells(raised.value, "columns 3, 1", "'0', '1', '2'")


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("quoting", "all", "minimal or none"),
        ("quoting", None, "minimal or none"),
        ("header", "no", "true or false"),
        ("header", 0, "true or false"),
        ("encoding", "utf-9", "utf-8"),
        ("encoding", "base64", "utf-8"),
        ("encoding", 8, "utf-8"),
        ("separator", r"\t", "one character"),
        ("separator", "", "one character"),
        ("separator", '"', "one character"),
        ("separator", None, "one character"),
    ],
)
def test_an_option_that_there_is_not(read, option, value, expected):
    with pytest.raises(DataError) as raised:
        read("id\tsentence\tlabel\na\tone\t1\n", **{option: value})
    assert_tells(raised.value, "toy", f"sources.files.{option}", expected, repr(value))


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
        (b"\n\nid\tsentence\tlabel\n", ["file.tsv", "rows", "found 0"]),
        (b"id\tsentence\tlabel\n", ["file.tsv", "rows", "found 0"]),
        (
            gzip.compress(b"id\tsentence\tlabel\na\tone\t1\n", mtime=0),
            ["file.tsv", "gzip", "unpack"],
        ),
        (b"PAR1\x15\x04", ["file.tsv", "Parquet"]),
        (b"PK\x03\x04\0\xff", ["file.tsv", "zip"]),
        (b"npy\0\1\2\n", ["file.tsv line 1", "a NUL byte"]),
        (b"id\tsen\0tence\tlabel\na\tone\t1\n", ["file.tsv line 1", "a NUL byte"]),
        (b"id\ttext\tlabel\na\tone\t1\n", ["file.tsv", "'id', 'text', 'label'", "sentence"]),
        (b"id,sentence,label\na,one,1\n", ["file.tsv", "'id,sentence,label'"]),
        (b'id\t"sentence\tlabel\na\tone\t1\n', ["file.tsv line 1", "a quote"]),
        (b"id\tsentence\tlabel\na\tone\nb\ttwo\n", ["file.tsv", "line 2", "found 2"]),
        (b"id\ts\xe9ntence\tlabel\na\tone\t1\n", ["file.tsv line 1", "UTF-8", "encoding"]),
        (b"id\tsentence\tlabel\tsentence\na\tone\t1\ttwo\n", ["sentence", "found 2"]),
        (b"id\tsentence\tlabel\tlabel \na\tone\t1\t0\n", ["label", "'label', 'label '"]),
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
    (st.text(st.sampled_from('ab" \t\n,\\')) | st.text(st.characters(exclude_characters="\0\r")))
    .filter(lambda text: text.strip())
    .filter(lambda text: not any("\ud800" <= letter <= "\udfff" for letter in text))
)


NAMES = ("sentence1", "sentence2")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(texts, texts, st.sampled_from(["0", "1", "0.0", "1.0"])), min_size=1),
    line_break=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    order=st.permutations([*NAMES, "label"]),
)
def test_what_a_csv_writer_writes_comes_back(directory, rows, line_break, quoting, order):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter="\t", lineterminator=line_break, quoting=quoting)
    writer.writerow(order)
    for row in rows:
        fields = dict(zip((*NAMES, "label"), row, strict=True))
        writer.writerow([fields[name] for name in order])
    (directory / "file.tsv").write_bytes(file.getvalue().encode())
    task = make_task(pair=True, sources={"files": source_of(pair=True, id=None)})
    records = list(Delimited("files", str(directory)).open(task, "train", labelled=True).records)
    doubts = [record.fault for record in records if record.fault]
    assert all("one text in quotes or several rows" in doubt for doubt in doubts)
    if not doubts:
        found = [[record.fields[name] for name in (*NAMES, "label")] for record in records]
        assert found == [list(row) for row in rows]


raw_fields = st.text(st.sampled_from('ab" ,\\'), max_size=4) | st.text(
    st.sampled_from("ab \t\r\n"), max_size=5
).map('"{}"'.format)


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(raw_fields, min_size=3, max_size=3).map("\t".join)),
    line_break=st.sampled_from(["\n", "\r\n", "\r"]),
    blank=st.sampled_from(["", " ", "\n"]),
    quoting=st.sampled_from(["minimal", "none"]),
    header=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_pandas_reads_the_same(rows, line_break, blank, quoting, header, encoding):
    """Wherever pandas has nothing to say against a file, and we have not either."""
    # pandas' parser in C loses a separator after an empty line that a lone \r ends.
    blanks = [] if line_break == "\r" else [blank]
    content = line_break.join(["x\ty\tz", *blanks, *rows])
    how = {"quoting": csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL}
    how |= {"header": 0 if header else None, "encoding": encoding, "index_col": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            frame = pd.read_csv(
                io.BytesIO(content.encode(encoding)),
                sep="\t", dtype=str, keep_default_na=False, **how,
            )  # fmt: skip
        except (pd.errors.ParserError, pd.errors.ParserWarning):
            return
    place = FilePlace(text=["x"], label="y", separator="\t", quoting=quoting, header=header)
    lines = _Lines(io.StringIO(content, newline=""))
    found = list(_rows(lines, place))[1 if header else 0 :]
    if not any(fault for _, _, fault in found):
        assert [row for _, row, _ in found] == frame.to_numpy().tolist()


def test_lines_of_a_large_file_are_let_go_and_stay_the_same() -> None:
    rows = [f'{n}\t"a ""quoted"" text\nof two lines, {n}"\t{n % 2}' for n in range(2 * HELD)]
    file = (line + "\n" for line in "\n".join(["x\ty\tz", *rows]).split("\n"))
    lines = _Lines(file)
    place = FilePlace(text=["x"], label="y", separator="\t")
    for number, (line, row, fault) in enumerate(_rows(lines, place)):
        assert not fault
        assert line == (2 * number if number else 1)
        if number:
            assert row == [str(number - 1), f'a "quoted" text\nof two lines, {number - 1}',
                           str((number - 1) % 2)]  # fmt: skip
        assert len(lines._held) <= HELD + AHEAD + 10
    assert number == len(rows)


def test_a_file_named_with_the_directory_where_it_was_is_found_in_another(tmp_path, caplog):
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "file.tsv").write_text("id\tsentence\tlabel\na\tone text\t1\n")
    task = make_task(sources={"files": source_of(train=str(tmp_path / "file.tsv"))})
    assert Delimited("files", str(moved)).read(task, "train").origin == str(moved / "file.tsv")
    assert caplog.messages == [
        f"{tmp_path / 'file.tsv'} is not there; reading {moved / 'file.tsv'} in its place"
    ]
    (moved / tmp_path.name).mkdir()  # a place that is more like its name
    (moved / "file.tsv").rename(moved / tmp_path.name / "file.tsv")
    (moved / "file.tsv").write_text("id\tsentence\tlabel\na\tanother's\t1\n")
    assert Delimited("files", str(moved)).read(task, "train").texts == (("one text",),)
    with pytest.raises(DataError, match="expected a data file of task"):
        Delimited("files", str(tmp_path)).read(task, "train")
