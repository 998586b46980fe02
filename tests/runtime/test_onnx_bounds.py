"""An ONNX file's outline, written here byte by byte: what is refused before a parser sees it."""

from __future__ import annotations

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.onnx_bounds import check_onnx, refuse_external


def number(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(field: int, content: bytes) -> bytes:
    return number(field << 3 | 2) + number(len(content)) + content


def integer(field: int, value: int) -> bytes:
    return number(field << 3) + number(value % (1 << 64))


def tensor(*dims: int, more: bytes = b"") -> bytes:
    return b"".join(integer(1, size) for size in dims) + message(8, b"w") + more


def model(*initialisers: bytes, graph: bytes = b"") -> bytes:
    return message(7, b"".join(message(5, one) for one in initialisers) + graph)


def constant(*parts: bytes) -> bytes:
    """A node with one attribute that has these tensors in its field for one."""
    return message(1, message(5, b"".join(message(5, part) for part in parts)))


OUTSIDE = integer(14, 1) + message(13, message(1, b"location") + message(2, b"/etc/passwd"))


def test_a_small_graph_passes() -> None:
    assert check_onnx(model(tensor(2, 3, more=message(9, bytes(24)))), "m.onnx") == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no ONNX model or is cut off"),
        (model(tensor(2))[:-1], "is no ONNX model or is cut off"),
        (b"\xff" * 11, "a number has more than 64 bits"),
        (model(tensor(-1)), "tensor w has the dimension -1"),
        (model(tensor(1 << 20, 1 << 20)), "more than the whole file has bits"),
        (model(tensor(*[1 << 40] * 4, more=OUTSIDE)), "at most 4294967296 are allowed"),
        (model(graph=constant(tensor(4), tensor(4))), "an? Attribute has Tensor twice"),
        (message(7, b"") + message(7, b""), "a Model has Graph twice"),
    ],
)
def test_what_is_broken_or_too_large_is_refused_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(BadArtefact, match=said) as caught:
        check_onnx(data, "m.onnx")
    assert "\n" not in str(caught.value)


def test_nesting_ends() -> None:
    graph = b""
    for _ in range(40):
        graph = message(1, message(5, message(6, graph)))
    with pytest.raises(BadArtefact, match="nested more than 64 messages deep"):
        check_onnx(model(graph=graph), "m.onnx")


def test_tensors_in_other_files_are_found_wherever_they_are() -> None:
    for data in (model(tensor(4, more=OUTSIDE)), model(graph=constant(tensor(4, more=OUTSIDE)))):
        (found,) = check_onnx(data, "m.onnx")
        assert (found.tensor, found.location) == ("w", "/etc/passwd")
        with pytest.raises(BadArtefact, match="tensor w has its data in another file, /etc/passwd"):
            refuse_external(data, "m.onnx")
