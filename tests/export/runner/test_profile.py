"""The program's own measuring, here and on a board without Python over SSH. Emulated: the protocol, never speed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import DeviceMismatch, UsageError
from helmsight.export.native import NAME
from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import Bundle, write_bundle
from helmsight.runtime.onnx_nodes import WEIGHTED, read_graph
from helmsight.runtime.profiler import Limits, ProfileOptions, Scenario
from helmsight.runtime.profiler.address import parse_address
from helmsight.runtime.profiler.measure import network_feeds
from helmsight.runtime.profiler.native_layers import check_layers, layers_in, named_by_ncnn
from helmsight.runtime.profiler.remote import profile_on

from ...sshd import Board, make_board
from .conftest import SHIPPED, Deployed

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

TARGET = "targets/jetson-tk1"
SHORT = ProfileOptions(SessionOptions("cpu", 1), Limits(0, 20))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """One that says of itself what the oldest board does, and has no helmsight."""
    made = make_board(tmp_path / "board", monkeypatch)
    (made.bin / "uname").write_text("#!/bin/sh\necho armv7l\n")
    (made.bin / "uname").chmod(0o755)
    yield made
    made.stop()


@pytest.fixture
def bundle(deployed: dict[str, Deployed], tmp_path: Path) -> Bundle:
    """The navigation network as exported for the oldest board; its program starts in the emulator."""
    one = deployed["navigate"]
    wrapper = tmp_path / NAME
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(one.command())} --model "$(dirname "$0")" "$@"\n')
    wrapper.chmod(0o755)
    files = {f"{TARGET}/{file.name}": file for file in one.folder.iterdir()} | {f"{TARGET}/{NAME}": wrapper}
    parity = {"jetson-tk1": {"precision": "fp32", "artefacts": {"ncnn": one.record}}}
    manifest = replace(one.bundle.manifest, parity={**one.bundle.manifest.parity, **parity})
    return write_bundle(tmp_path / "steer.bundle", manifest, {"model.onnx": one.bundle.read_model(), **files})


def test_a_run_without_layers_has_none(deployed: dict[str, Deployed]) -> None:
    one = deployed["navigate"]
    assert one.run("--layers", "5", "--values").returncode == 2
    assert b"--layers has an effect only with --profile" in one.run("--layers", "5", "--values").stderr


@pytest.mark.parametrize("name", SHIPPED)
def test_every_layer_with_weights_has_its_module_and_its_operations(deployed: dict[str, Deployed], name: str) -> None:
    one = deployed[name]
    feeds, _ = network_feeds(one.bundle, ProfileOptions())
    sent = b"".join(array.tobytes() for array in feeds[0].values())
    command = ("--profile", "--duration", "0", "--queries", "1", "--threads", "1", "--layers", "10")
    (said,) = one.lines(*command, sent=sent)
    check_layers(said["layers"])
    graph = read_graph(one.bundle.read_model(), name)
    param, stored = (one.folder / "model.param").read_text(), (one.folder / "model.bin").read_bytes()
    found, _ = layers_in(said["layers"], 1, named_by_ncnn(graph, param, stored))
    weighted = [layer for layer in found.layers if layer.operations]
    modules = [node.module or "" for node in graph.nodes if node.operator in WEIGHTED]
    assert sorted(layer.module or "" for layer in weighted) == sorted(modules)
    assert all(layer.module is not None for layer in weighted)
    assert sum(layer.operations or 0 for layer in weighted) == 2 * one.bundle.manifest.provenance["graph"]["macs"]


def test_every_query_is_kept(deployed: dict[str, Deployed]) -> None:
    one = deployed["navigate"]
    feeds, _ = network_feeds(one.bundle, ProfileOptions())
    sent = b"".join(array.tobytes() for feed in feeds[:3] for array in feed.values())
    (said,) = one.lines("--profile", "--duration", "0.5", "--queries", "7", "--threads", "1", sent=sent)
    times = np.array(said["samples_ns"])
    assert len(times) >= 7
    assert (times > 0).all()
    assert said["duration_s"] >= 0.5
    assert times.sum() / 1e9 <= said["duration_s"] + 0.001
    assert said["warm_up"]["queries"] >= 9
    assert said["warm_up"]["seconds"] >= 0.3
    assert said["overhead"]["per_query_us"] > said["overhead"]["in_sample_us"] >= 0
    assert said["threads"] == 1
    assert "layers" not in said


@pytest.mark.parametrize(
    ("arguments", "sent", "code", "message"),
    [
        ((), b"", 6, "no tensor"),
        ((), b"x", 6, "ends within a tensor"),
        (("--queries", "0"), b"", 2, "--queries 0"),
        (("--values",), b"", 2, "one source"),
    ],
)
def test_what_cannot_be_measured(
    deployed: dict[str, Deployed], arguments: tuple[str, ...], sent: bytes, code: int, message: str
) -> None:
    done = deployed["navigate"].run("--profile", *arguments, sent=sent)
    assert done.returncode == code
    assert message in done.stderr.decode()


def test_a_board_without_python_measures(board: Board, bundle: Bundle) -> None:
    (one,), failed = profile_on([parse_address(board.uri)], [bundle], SHORT, lambda _: None)
    found = one.profile
    assert failed == []
    assert (found.layers, one.trace) == (None, ())
    assert (found.samples.shape, found.stages, found.device, found.precision) == (
        (20, 1),
        ("inference",),
        "cpu",
        "fp32",
    )
    assert found.threads == 1
    assert found.feeds == "32 frames of sample://corridor"
    assert found.inputs == {"image": {"shape": list(bundle.manifest.inputs[0].shape), "dtype": "uint8"}}
    assert dict(found.files) == {**bundle.manifest.files, "manifest.json": bundle.manifest_sha256}
    assert found.machine["cpu"]["architecture"] == "armv7l"
    assert found.machine["memory_bytes"] > 0
    assert found.machine["python"] == "none"
    assert "ncnn" in found.versions
    readings = json.loads(json.dumps(found.to_json()))["sensors"]["readings"]
    assert readings["load_1m"].get("n") or "too short" in str(readings), "its shell copies what the kernel says"
    assert "other_cores" not in readings
    assert list(board.tmp.iterdir()) == []


def test_the_layers_of_a_board_without_python(board: Board, bundle: Bundle) -> None:
    """Timed after the queries; their names in PyTorch and what they compute are out of the ONNX file here."""
    (one,), failed = profile_on([parse_address(board.uri)], [bundle], SHORT, lambda _: None, layers=True)
    assert failed == []
    assert one.profile.samples.shape == (20, 1)
    layers = one.profile.layers
    assert layers is not None
    assert layers.profiler == "a clock around each of ncnn's layers"
    assert 5 <= layers.runs <= 50
    products = [layer for layer in layers.layers if layer.operations]
    assert sum(layer.operations or 0 for layer in products) == 2 * bundle.manifest.provenance["graph"]["macs"]
    assert [layer.module for layer in products[:3]] == ["stem.1", "stage4.body.0", "stage4.body.3"]
    assert {layer.module for layer in layers.layers if not layer.operations} == {None}
    assert all(layer.moved_bytes and layer.ms > 0 for layer in products)
    assert 0 < layers.layers_ms < 1.2 * layers.run_ms
    assert layers.of_roofline(products[0])
    assert layers.rates.origin == "measured on that machine with 1 thread, by ncnn's matrix product and a copy"
    shown = [event for event in one.trace if event["ph"] == "X" and event["cat"] == "layer"]
    assert len(shown) == layers.runs * len(layers.layers)
    assert one.trace[0]["args"]["name"] == f"navigate on {board.uri}"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (replace(SHORT, stages=True), UsageError, "leave out --stages"),
        (replace(SHORT, scenario=Scenario("camera")), UsageError, "leave out --scenario camera"),
        (replace(SHORT, source="sample://corridor"), UsageError, "leave out --source"),
        (replace(SHORT, session=SessionOptions("cuda")), DeviceMismatch, "leave out --device"),
    ],
)
def test_what_the_program_cannot_measure(
    board: Board, bundle: Bundle, options: ProfileOptions, kind: type[Exception], message: str
) -> None:
    found, (error,) = profile_on([parse_address(board.uri)], [bundle], options, lambda _: None)
    assert found == []
    assert isinstance(error, kind)
    assert message in str(error)


def test_a_program_that_does_not_start_says_why(board: Board, bundle: Bundle, tmp_path: Path) -> None:
    broken = bundle.path / TARGET / NAME
    files = {name: bundle.path / name for name in bundle.manifest.files}
    broken.write_text("#!/bin/sh\necho 'cannot execute: wrong format' >&2\nexit 126\n")
    again = write_bundle(tmp_path / "again.bundle", bundle.manifest, files)
    _, (error,) = profile_on([parse_address(board.uri)], [again], SHORT, lambda _: None)
    assert isinstance(error, DeviceMismatch)
    assert "ended with 126: cannot execute: wrong format" in str(error)
    assert list(board.tmp.iterdir()) == []
