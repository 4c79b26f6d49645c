"""Files that lie: what is read is what was expected, or one line says what is wrong."""

import json
import os
import struct

import pytest
import torch
from safetensors.torch import save_file

from scoreregs_offline_rl.errors import RunError
from scoreregs_offline_rl.files import (
    load_json,
    load_tensors,
    load_tensors_like,
    save_json,
    save_tensors,
    tensor_shapes,
)

RECORDS = {
    "empty": b"",
    "cut": b'{"a": 1',
    "null": b"null",
    "a list": b"[1, 2]",
    "a number": b"3",
    "a text": b'"a"',
    "deep": b"[" * 200_000 + b"]" * 200_000,
    "deep in a record": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "no text": b"\x80\x81\x82",
    "a number without end": b'{"a": ' + b"9" * 10_000 + b"}",
    "two records": b"{}{}",
}
WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(3)}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_is_none(tmp_path, name):
    path = tmp_path / "config.json"
    path.write_bytes(RECORDS[name])
    with pytest.raises(RunError, match=r"cannot read .*config\.json: ") as caught:
        load_json(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_record_is_read_as_it_was_written(tmp_path):
    content = {"a": [1, 2.5, None, True], "ü": {"b": "text"}}
    save_json(tmp_path / "a.json", content)
    assert load_json(tmp_path / "a.json") == content
    with pytest.raises(ValueError):
        save_json(tmp_path / "b.json", {"a": float("nan")})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_record_larger_than_any_of_ours(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(RunError, match="larger than 67108864 bytes"):
        load_json(tmp_path / "a.json")


def test_what_is_no_regular_file(tmp_path):
    """Opening a pipe would wait for somebody to write."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        for load in (load_json, load_tensors, tensor_shapes):
            with pytest.raises(RunError, match="no regular file"):
                load(path)
    for load in (load_json, load_tensors, tensor_shapes):
        with pytest.raises(RunError, match=r"cannot read .*missing"):
            load(tmp_path / "missing")


def header(content, data=b""):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


TENSORS = {
    "empty": b"",
    "cut": b"cut",
    "a header without end": struct.pack("<Q", 2**60) + b"{}",
    "a header that is longer than the file": struct.pack("<Q", 1000) + b"{}",
    "a header that is no JSON": header(b"[" * 100_000),
    "a list": header([1]),
    "more data than the file has": header(
        {"weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ),
    "a size beyond 64 bits": header(
        {"weight": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a negative size": header(
        {"weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "an unknown type": header(
        {"weight": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "data beyond the tensors": header(
        {"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)
    ),
    "tensors that overlap": header(
        {
            name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
            for name in ("weight", "bias")
        },
        bytes(4),
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_none(tmp_path, name):
    path = tmp_path / "model.safetensors"
    path.write_bytes(TENSORS[name])
    for load in (load_tensors, lambda p: load_tensors_like(p, WEIGHTS, remedy="none")):
        with pytest.raises(RunError, match=r"model\.safetensors") as caught:
            load(path)
        assert "\n" not in str(caught.value)


HEADERS = {
    "no shape": {"weight": {"dtype": "F32"}},
    "no record": {"weight": 3},
    "a shape of texts": {"weight": {"dtype": "F32", "shape": ["a"]}},
    "a shape that is a number": {"weight": {"dtype": "F32", "shape": 3}},
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_something_else(tmp_path, name):
    path = tmp_path / "model.safetensors"
    path.write_bytes(header(HEADERS[name]))
    with pytest.raises(RunError, match=r"cannot read .*model\.safetensors: "):
        tensor_shapes(path)


@pytest.mark.parametrize("size", range(0, 150, 7))
def test_tensors_that_are_cut(tmp_path, size):
    path = tmp_path / "model.safetensors"
    save_tensors(path, WEIGHTS)
    whole = path.read_bytes()
    assert len(whole) > 150
    path.write_bytes(whole[:size])
    for load in (load_tensors, lambda p: load_tensors_like(p, WEIGHTS, remedy="none")):
        with pytest.raises(RunError, match="cannot read"):
            load(path)


def test_tensors_as_they_were_written(tmp_path):
    path = tmp_path / "a.safetensors"
    more = {"flag": torch.tensor([True]), "count": torch.tensor(3), **WEIGHTS}
    save_tensors(path, more)
    for found in (load_tensors(path), load_tensors_like(path, more, remedy="none")):
        torch.testing.assert_close(found, more, rtol=0, atol=0)
    assert tensor_shapes(path)["weight"] == ("F32", (2, 3))
    # Those of the meta device have no values, and none are needed.
    meta = {name: tensor.to("meta") for name, tensor in more.items()}
    assert load_tensors_like(path, meta, remedy="none").keys() == more.keys()


OTHERS = {
    "half": ({"weight": torch.ones(2, 3).half()}, r"weight: F16 \[2, 3\]\), expected F32 \[2, 3\]"),
    "bfloat16": ({"weight": torch.ones(2, 3).bfloat16()}, "weight: BF16"),
    "double": ({"weight": torch.ones(2, 3).double()}, "weight: F64"),
    "whole numbers": ({"weight": torch.ones(2, 3).long()}, "weight: I64"),
    "another size": ({"weight": torch.ones(3, 2)}, r"weight: F32 \[3, 2\]"),
    "one too many": ({"more": torch.ones(1)}, r"more: F32 \[1\]\), expected nothing"),
    "one missing": ({"bias": None}, r"bias: nothing\), expected F32 \[3\]"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_tensors_than_expected(tmp_path, name):
    change, message = OTHERS[name]
    tensors = {n: t for n, t in (WEIGHTS | change).items() if t is not None}
    save_tensors(tmp_path / "a.safetensors", tensors)
    with pytest.raises(RunError, match=message) as caught:
        load_tensors_like(tmp_path / "a.safetensors", WEIGHTS, remedy="save them again")
    assert str(caught.value).endswith(": save them again")


def test_sizes_are_compared_before_anything_is_read(tmp_path):
    """A sparse file of a terabyte, which nothing could hold."""
    size, path = 2**38, tmp_path / "huge.safetensors"
    text = header({"weight": {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}})
    with path.open("wb") as file:
        file.write(text)
        file.truncate(len(text) + 4 * size)
    with pytest.raises(RunError, match=r"F32 \[274877906944\]"):
        load_tensors_like(path, {"weight": torch.ones(3)}, remedy="none")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite(tmp_path, value):
    path = tmp_path / "a.safetensors"
    tensors = WEIGHTS | {"bias": torch.tensor([0.0, value, 1.0])}
    with pytest.raises(RunError, match=r"values of bias that are not finite"):
        save_tensors(path, tensors)
    assert not path.exists()
    save_file(tensors, path)
    for load in (load_tensors, lambda p: load_tensors_like(p, WEIGHTS, remedy="none")):
        with pytest.raises(RunError, match=r"values of bias that are not finite"):
            load(path)


def test_a_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(RunError, match="got the folder"):
        save_json(tmp_path, {})
    assert not list(tmp_path.iterdir())
