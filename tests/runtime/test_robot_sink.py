"""Commands on real sockets and pipes: in order while somebody listens, without delay while nobody does."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.driving.local import RobotShape
from helmsight.runtime.results import Command, Frame, Result, Stop
from helmsight.runtime.sinks._links import FINISH_S, Lines, open_link
from helmsight.runtime.sinks.robot import RobotSink

SHAPE = RobotShape(0.2, max_speed_mps=0.5, max_yaw_rate_rps=2.0)


def result(index: int, command: Command | Stop | None) -> Result:
    return Result(Frame(np.zeros((4, 4, 3), np.uint8), index, time.perf_counter_ns()), {}, command)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(2)
        yield bound


def uri_of(receiver: socket.socket) -> str:
    return f"udp://127.0.0.1:{receiver.getsockname()[1]}"


def received(receiver: socket.socket, count: int) -> list[dict]:
    return [json.loads(receiver.recv(2048)) for _ in range(count)]


def test_each_result_is_a_datagram_in_shares_and_in_si_units_and_the_last_is_a_stop(receiver: socket.socket) -> None:
    with RobotSink(uri_of(receiver), SHAPE) as sink:
        sink(result(7, Command(0.5, 0.8)))
        sink(result(8, None))
        sink(result(9, Stop("camera is silent")))
        sink(result(10, Command(-1.0, 0.0)))
    first, stop, turn, last = received(receiver, 4)
    assert first.items() >= {"seq": 0, "frame": 7, "steer": 0.5, "speed": 0.8}.items()
    assert (first["linear_mps"], first["angular_rps"]) == (0.4, 1.0)
    assert 0 <= first["age_ms"] < 1000
    assert stop.items() >= {"seq": 1, "frame": 9, "stop": "camera is silent", "linear_mps": 0, "angular_rps": 0}.items()
    assert turn["angular_rps"] == -2.0, "to the right"
    assert last.items() >= {"seq": 3, "frame": 10, "stop": "the run ended"}.items()
    report = sink.report
    assert (report.sent, report.stops, report.failed, report.stopped) == (4, 2, 0, True)


def test_a_run_that_fails_tells_why_and_one_without_frames_stops_too(receiver: socket.socket) -> None:
    sink = RobotSink(uri_of(receiver), SHAPE)
    sink(result(0, Command(0.0, 1.0)))
    sink.__exit__(ValueError, ValueError("broken"), None)
    assert received(receiver, 2)[1]["stop"] == "the run ended with an error: broken"
    RobotSink(uri_of(receiver), SHAPE).close()
    assert received(receiver, 1)[0].items() >= {"seq": 0, "frame": None, "age_ms": None}.items()
    with pytest.raises(RuntimeError, match="closed"):
        sink(result(1, Command(0.0, 1.0)))


def test_a_stop_is_not_told_twice_and_a_long_reason_is_cut(receiver: socket.socket) -> None:
    with RobotSink(uri_of(receiver), SHAPE) as sink:
        sink(result(0, Stop("x" * 5000)))
    assert sink.report.sent == 1
    assert len(receiver.recv(2048)) < 1024


def test_nobody_listens_is_counted_said_once_and_in_the_report(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        uri = uri_of(taken)
    with caplog.at_level(logging.WARNING), RobotSink(uri, SHAPE) as sink:
        for index in range(20):
            sink(result(index, Command(0.0, 1.0)))
    report = sink.report
    assert report.failed >= 20
    assert not report.stopped
    assert report.error == "connection refused"
    assert caplog.text.count("a command did not get there: connection refused") == 1


def test_a_receiver_that_comes_late_gets_what_is_sent_from_then_on(receiver: socket.socket) -> None:
    uri, (host, port) = uri_of(receiver), receiver.getsockname()
    receiver.close()
    with RobotSink(uri, SHAPE) as sink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        for index in range(3):
            sink(result(index, Command(0.0, 1.0)))
        late.bind((host, port))
        late.settimeout(2)
        sink(result(3, Command(0.0, 1.0)))
        assert json.loads(late.recv(2048))["seq"] == 3, "the refusal of one before does not cost this one"
        sink.close()
        assert "stop" in json.loads(late.recv(2048))
    assert sink.report.stopped


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Both ends of a FIFO: to read from and to write to."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(path, os.O_WRONLY)
    fcntl.fcntl(reading, fcntl.F_SETFL, 0)
    yield reading, writing
    for end in (reading, writing):
        os.close(end)


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_then_has_the_newest(fifo: tuple[int, int]) -> None:
    reading, writing = fifo
    link = Lines("-", writing)
    slowest_s = 0.0
    for number in range(2000):
        began = time.perf_counter()
        link.send(b"%04d" % number + b"." * 200)
        slowest_s = max(slowest_s, time.perf_counter() - began)
    assert slowest_s < 0.2
    assert link.overtaken > 1900
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reading, 205), b"")), daemon=True)
    reader.start()
    assert link.finish()
    time.sleep(0.05)
    numbers = [int(line[:4]) for line in got]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 1999, "the last one gets there as soon as somebody reads"
    assert len(numbers) + link.overtaken == 2000
    assert link.failed == 0


def test_a_pipe_that_is_never_read_is_said_at_the_end(fifo: tuple[int, int]) -> None:
    link = Lines("-", fifo[1])
    for _ in range(50):
        link.send(b"." * 300)
    began = time.perf_counter()
    assert not link.finish()
    assert time.perf_counter() - began < FINISH_S + 0.5
    assert link.reason == "nobody has read for 0.5 s"


def test_a_reader_that_went_away_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    link = Lines("-", writing)
    link.send(b"heard")
    os.close(reading)
    for _ in range(5):
        link.send(b"unheard")
    assert not link.finish()
    os.close(writing)
    assert link.failed == 5
    assert link.reason == "broken pipe"
    assert caplog.text.count("did not get there") == 1


def test_every_line_is_in_a_file(tmp_path: Path) -> None:
    with (tmp_path / "commands.jsonl").open("wb") as file:
        link = Lines("-", file.fileno())
        for number in range(500):
            link.send(b"%d" % number)
        assert link.finish()
    assert (tmp_path / "commands.jsonl").read_text().split() == [str(number) for number in range(500)]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("tcp://1.2.3.4:5", r"expected udp://HOST:PORT, or -"),
        ("robot.jsonl", r"expected udp://HOST:PORT, or -"),
        ("udp://1.2.3.4", r"expected udp://HOST:PORT, such as"),
        ("udp://1.2.3.4:99999", r"expected udp://HOST:PORT, such as"),
        ("udp://1.2.3.4:5/x", r"expected udp://HOST:PORT, such as"),
        ("udp://no-such-host.invalid:5", r"expected udp://HOST:PORT that can be reached"),
    ],
)
def test_an_address_that_is_none(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_link(uri)


@pytest.mark.parametrize("values", [(0.2, 0.5, 0.0), (0.2, float("nan"), 1), (3, 0.5, 1), (0.2, 50, 1)])
def test_a_robot_that_is_none(values: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="--robot-shape"):
        RobotShape(*values)
