"""Files that are cut, damaged or otherwise not as they should be."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from commands import FEATURES, GOOD, command, fit, refused

from fastloss import data, model_file


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "", "is empty"),
        ("x.csv", "a,y\n", "has no rows"),
        ("x.csv", "\n", "has no line of names of columns"),
        ("x.csv", "a,y\n1,2\n3\n", "Expected 2 columns, got 1: 3"),
        ("x.csv", "a,y\n1,2\n,3\n", "column 'a' of x.csv has no value in row 2 of the data; fill it in"),
        ("x.csv", "a,y\n1,2\n3,NA\n", "column 'y' of x.csv has no value in row 2"),
        ("x.csv", "a,y\n1,2\ninf,3\n", "column 'a' of x.csv holds inf in row 2"),
        (
            "x.csv",
            "a,y\n1,2\nred,3\n",
            "column 'a' of x.csv is not numeric: it holds 'red'; name it in --categorical",
        ),
        ("x.csv", "b,y\n1,2\n", "no column 'a'; its columns are b, y"),
        ("x.csv", "A,y\n1,2\n", "no column 'a'"),
        ("x.csv", "a,a,y\n1,2,3\n", "2 columns 'a'"),
        ("x.csv", "a,y\n\xff,2\n", "column 'a' of x.csv is not numeric"),
        ("x.parquet", "PAR1 and no more", "cannot read x.parquet"),
        ("x.npz", "PK and no more", "cannot read x.npz: File is not a zip file"),
        ("x.txt", GOOD, "the format is that of the ending, one of .csv, .parquet"),
        ("x.svm", GOOD, "svmlight has no named columns"),
    ],
)
def test_files_that_are_not_as_they_should_be(name, text, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    arguments = ["--target", "y", "--columns", "a", "--loss", "squared_error"]
    assert message in refused(capsys, "fit", name, *arguments)
    assert os.listdir() == [name]


def test_a_line_that_is_longer_than_a_block(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("names", f"{'a' * 20_000},y\n1,2\n"),
        ("values", f"a,y\n{'0' * 40_000},2\n{'0' * 40_000},2\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
        arguments = "--target", "y", "--loss", "huber", "--memory", "1K"
        assert "a line that is longer than a block; raise" in refused(
            capsys, "fit", f"{name}.csv", *arguments
        )


def test_a_pipe(tmp_path, capsys):
    os.mkfifo(tmp_path / "x.csv")
    err = refused(capsys, "fit", tmp_path / "x.csv", "--target", "y", "--loss", "huber")
    assert "x.csv is a pipe, and data are read more than once; write them to a file first" in err


@pytest.mark.parametrize("line", ["1 2:", "1 2", "yes 1:2", "1 2:x", "1 -1:2", "1 2:3 1:1", "1,2"])
def test_a_bad_line_of_svmlight(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.svm").write_text(f"1 1:2 3:4\n# a comment\n-1 2:1\n{line}\n1 1:1\n")
    err = refused(capsys, "fit", "x.svm", "--loss", "hinge")
    assert "x.svm" in err
    assert "line 4" in err or "sorted" in err


@pytest.mark.parametrize("kind", ["parquet", "npz"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_files_that_were_cut(kind, part, folder, tmp_path, capsys):
    content = (folder / f"data.{kind}").read_bytes()
    (tmp_path / f"x.{kind}").write_bytes(content[: int(part * len(content))])
    arguments = ["--target", "y", "--columns", "a", "--loss", "squared_error"]
    assert "cannot read" in refused(capsys, "fit", tmp_path / f"x.{kind}", *arguments)


def test_a_damaged_byte_of_an_npz(folder, tmp_path, capsys):
    content = bytearray((folder / "data.npz").read_bytes())
    at = content.index(b"a.npy") + 300
    content[at] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    arguments = ["--target", "y", "--columns", "a", "--loss", "squared_error"]
    assert "Bad CRC-32" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)


def test_an_npz_of_arrays_that_make_no_table(tmp_path, capsys):
    arguments = ["--target", "y", "--loss", "squared_error"]
    np.savez(tmp_path / "x.npz", x=np.zeros(3), y=np.zeros(4))
    assert "one number of rows" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)
    np.savez(tmp_path / "x.npz", x=np.array([None, 1]), y=np.zeros(2))
    assert "of numbers or text" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3), order="F"), y=np.zeros(2))
    assert "Fortran order" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 2)), x1=np.zeros(2), y=np.zeros(2))
    assert "2 columns 'x1'" in refused(capsys, "fit", tmp_path / "x.npz", *arguments)


def test_an_npz_that_says_to_be_larger_than_it_is(tmp_path, capsys):
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (3, 10**6)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    tracemalloc.start()
    try:
        err = refused(capsys, "fit", tmp_path / "x.npz", "--target", "x0", "--loss", "squared_error")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "array 'x' ends early" in err
    assert peak < 2**24  # there are no names of a million columns


def test_a_name_that_two_columns_have(tmp_path, capsys):
    path = tmp_path / "x.csv"
    path.write_text("a,a,b,y\n1,9,4,2\n2,9,5,3\n")
    arguments = [path, "--target", "y", "--loss", "squared_error", "-o", tmp_path / "m.npz"]
    assert "2 columns 'a'" in refused(capsys, "fit", *arguments)
    assert command("fit", *arguments, "--exclude", "a") == 0


def test_a_cut_model(folder, tmp_path, capsys):
    path = tmp_path / "m.npz"
    fit(folder / "data.csv", path, "--columns", *FEATURES, target="y", loss="huber")
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        err = refused(capsys, "predict", path, folder / "data.csv", "-o", tmp_path / "o.csv")
        assert "or is damaged" in err


@pytest.mark.parametrize("kind", ["model", "npz", "parquet"])
def test_any_damaged_byte_is_an_error_or_nothing(kind, folder, tmp_path):
    path = folder / f"data.{kind}"
    if kind == "model":
        path = tmp_path / "m.npz"
        fit(folder / "data.csv", path, "--columns", *FEATURES, target="y", loss="huber")
    content, refusals = path.read_bytes(), 0
    step = 5 if kind == "model" else len(content) // 100
    for at in range(0, len(content), step):
        damaged = tmp_path / f"damaged.{kind}"
        damaged.write_bytes(content[:at] + bytes([content[at] ^ 0x5A]) + content[at + 1 :])
        try:
            if kind == "model":
                model_file.load(damaged)
            else:
                data.batches(damaged, target="y", columns=FEATURES)
        except ValueError as error:
            refusals += str(damaged) in str(error)
            continue
    assert refusals > 5  # a Parquet file has few checksums
