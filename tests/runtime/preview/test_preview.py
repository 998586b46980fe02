"""The preview over real HTTP on loopback."""

import http.client
import json
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.meter import Meter
from helmsight.runtime.preview.preview import Preview
from helmsight.runtime.preview.server import MOST_CONNECTIONS
from helmsight.runtime.preview.tally import POINT_S, POINTS, Tally
from helmsight.runtime.results import Stop
from helmsight.runtime.sinks.overlay import Overlay
from helmsight.runtime.sinks.take import Takes
from helmsight.runtime.sources import open_source

from .fakes import CountingOverlay, result


def get(
    preview: Preview, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", preview.port, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def status(preview: Preview, path: str = "/status.json") -> dict[str, Any]:
    answer, body = get(preview, path)
    assert answer.status == 200
    return json.loads(body)


def until(holds: Any, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_page_is_one_file_that_loads_nothing_from_elsewhere(preview: Preview) -> None:
    answer, body = get(preview, "/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert b"http://" not in body
    assert b"https://" not in body


def test_the_status_tells_of_the_source_the_models_and_the_last_minute(preview: Preview, meter: Meter) -> None:
    assert status(preview)["results"] == 0
    meter.source_is("lost", "unplugged")
    preview(result(1, Stop("too old")))
    said = status(preview)
    assert said["results"] == 1
    assert said["stop"] == "too old"
    assert said["source"]["state"] == "lost"
    assert said["source"]["reason"] == "unplugged"
    assert said["models"]["face"]["precision"] == "fp32"
    assert said["overwritten"] == {"face": 7}
    assert said["silent_s"] > 0.004
    until(lambda: status(preview)["points"])
    said = status(preview)
    (point,) = said["points"]
    assert point["rate"] == 1 / POINT_S
    assert 5 <= point["age"] <= point["age_max"]
    assert point["stages"]["face"] == {"wait": 1.0, "prepare": 2.0, "inference": 30.0, "decode": 0.5}
    assert status(preview, f"/status.json?after={said['next']}")["points"] == []
    assert len(status(preview, "/status.json?after=nonsense")["points"]) == 1


def test_the_last_minute_is_all_that_is_kept() -> None:
    tally = Tally(0)
    for number in range(3 * POINTS):
        tally.add(result(number), int((number + 0.5) * POINT_S * 1e9))
    points, following = tally.points(0, int(3 * POINTS * POINT_S * 1e9))
    assert len(points) == POINTS
    assert following == 3 * POINTS
    assert [p["t"] for p in points] == sorted(p["t"] for p in points)
    assert len(tally.points(following - 3, int(3 * POINTS * POINT_S * 1e9))[0]) == 3


def test_a_slower_models_reading_is_counted_once() -> None:
    tally = Tally(0)
    same = result(1)
    for _ in range(5):
        tally.add(same, time.perf_counter_ns())
    assert sum(tally.stages["face", "inference"].counts) == 1
    assert sum(tally.ages.counts) == 5


def test_a_picture_is_the_newest_one_and_asked_for_anew(preview: Preview) -> None:
    for index in (10, 20, 200):
        preview(result(index))
    answer, body = get(preview, "/picture.jpg")
    assert answer.headers["Content-Type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (48, 64, 3)
    assert abs(float(picture.mean()) - 200) < 2
    number = answer.headers["X-Number"]
    threading.Timer(0.2, lambda: preview(result(30))).start()
    answer, body = get(preview, f"/picture.jpg?after={number}")
    assert abs(float(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).mean()) - 30) < 2
    assert int(answer.headers["X-Number"]) == int(number) + 1


def test_nothing_is_drawn_while_nobody_looks_and_once_for_all_who_do(
    preview: Preview, overlay: CountingOverlay
) -> None:
    for index in range(50):
        preview(result(index))
    assert overlay.drawn == 0
    bodies: list[bytes] = []
    get(preview, "/picture.jpg")
    assert overlay.drawn == 1
    viewers = [
        threading.Thread(target=lambda: bodies.append(get(preview, "/picture.jpg?after=50")[1])) for _ in range(12)
    ]
    for viewer in viewers:
        viewer.start()
    until(lambda: preview._picture.viewers == 12)
    preview(result(99))
    for viewer in viewers:
        viewer.join(timeout=20)
    assert len(bodies) == 12
    assert len(set(bodies)) == 1
    assert overlay.drawn == 2


def test_a_large_picture_is_shown_smaller(preview: Preview) -> None:
    preview(result(0, image=np.zeros((1440, 2560, 3), np.uint8)))
    body = get(preview, "/picture.jpg")[1]
    assert cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).shape == (720, 1280, 3)


def test_a_reader_that_takes_nothing_holds_nobody_up(preview: Preview) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with socket.create_connection(("127.0.0.1", preview.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{preview.port}\r\n\r\n".encode())
        number = 0
        for index in range(12):
            preview(result(index, image=noise))
            answer, body = get(preview, f"/picture.jpg?after={number}")
            number = int(answer.headers["X-Number"])
            assert number == index + 1
            assert len(body) > 100_000
        slow.settimeout(5)
        got = slow.recv(1 << 16)
        assert b"multipart/x-mixed-replace; boundary=picture" in got
        assert len(got) < 12 * len(body), "what was not read was not kept for later"


def test_the_stream_is_motion_jpeg_for_other_programs(preview: Preview) -> None:
    ending = threading.Event()

    def feed() -> None:
        index = 0
        while not ending.wait(0.02):
            index += 1
            preview(result(index % 200))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        capture = cv2.VideoCapture(f"http://127.0.0.1:{preview.port}/stream.mjpg", cv2.CAP_FFMPEG)
        pictures = [capture.read()[1] for _ in range(5)]
        capture.release()
    finally:
        ending.set()
        feeder.join()
    assert all(picture.shape == (48, 64, 3) for picture in pictures)


def test_metrics_are_read_by_prometheus_own_parser(preview: Preview, meter: Meter) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="the oracle of this test is prometheus_client")
    meter.source_is("open")
    meter.stops = 3
    for index in range(10):
        preview(result(index))
    answer, body = get(preview, "/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in parser.text_string_to_metric_families(body.decode())}
    values = {(s.name, *sorted(s.labels.items())): s.value for f in families.values() for s in f.samples}
    assert all(family.documentation for family in families.values())
    assert values["helmsight_results_total",] == 10
    assert values["helmsight_stops_total",] == 3
    assert values["helmsight_frames_overwritten_total", ("model", "face")] == 7
    assert values["helmsight_source_state", ("source", "fake://"), ("state", "open")] == 1
    assert values["helmsight_source_state", ("source", "fake://"), ("state", "lost")] == 0
    assert values["process_resident_memory_bytes",] > 1e7
    model = next(s for s in families["helmsight_model_info"].samples)
    assert model.labels["bundle"] == 'a "b"\\c.bundle'
    assert families["helmsight_frame_age_seconds"].type == "histogram"
    inference = (("model", "face"), ("stage", "inference"))
    assert values[("helmsight_stage_seconds_count", *inference)] == 10
    assert values[("helmsight_stage_seconds_sum", *inference)] == pytest.approx(0.3)
    assert values[("helmsight_stage_seconds_bucket", ("le", "0.02"), *inference)] == 0
    assert values[("helmsight_stage_seconds_bucket", ("le", "0.033"), *inference)] == 10


def test_recording_is_started_and_stopped_over_http(preview: Preview, takes: Takes, tmp_path: Path) -> None:
    json_body = {"Content-Type": "application/json"}

    def switch(on: bool) -> dict[str, Any]:
        answer, body = get(preview, "/record", json_body, "POST", json.dumps({"on": on}))
        assert answer.status == 200
        return json.loads(body)

    assert switch(True)["on"] is True
    for index in range(4):
        takes(result(index))
    said = switch(False)
    assert (said["on"], said["frames"], said["path"]) == (False, 4, str(tmp_path / "run"))
    assert status(preview)["recording"]["frames"] == 4
    assert "helmsight_recorded_frames_total 4" in get(preview, "/metrics")[1].decode()
    with open_source(f"replay://{tmp_path / 'run'}") as source:
        assert [frame.index for frame in source] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, '{"on": true}', 415),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, '{"on": true}', 403),
        ({"Content-Type": "application/json", "Host": "evil.example"}, '{"on": true}', 403),
        ({"Content-Type": "application/json"}, '{"on": 1}', 400),
        ({"Content-Type": "application/json"}, "nonsense", 400),
        ({"Content-Type": "application/json"}, "", 400),
        ({"Content-Type": "application/json"}, "[" * 4000, 400),
    ],
)
def test_nobody_else_and_nothing_else_starts_a_recording(
    preview: Preview, takes: Takes, headers: dict, body: str, expected: int
) -> None:
    answer, said = get(preview, "/record", headers, "POST", body)
    assert answer.status == expected
    assert said.count(b"\n") == 1
    assert takes.state()["on"] is False


def test_a_place_that_cannot_be_recorded_to_is_said_to_who_asked(preview: Preview, tmp_path: Path) -> None:
    tmp_path.rename(tmp_path.with_name("gone"))
    answer, said = get(preview, "/record", {"Content-Type": "application/json"}, "POST", '{"on": true}')
    tmp_path.with_name("gone").rename(tmp_path)
    assert answer.status == 409
    assert b"there is no folder" in said


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/healthz", {}, 200),
        ("/nowhere", {}, 404),
        ("/../../etc/passwd", {}, 404),
        ("/map.png", {}, 404),
        ("/status.json", {"Host": "evil.example"}, 403),
        ("/", {"Content-Length": "99999999"}, 413),
        ("/", {"Content-Length": "-1"}, 413),
    ],
)
def test_what_is_not_there_or_not_allowed(preview: Preview, path: str, headers: dict, expected: int) -> None:
    answer, body = get(preview, path, headers)
    assert answer.status == expected
    assert body.count(b"\n") == 1


def test_beyond_loopback_a_token_opens_the_page_and_its_cookie_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Preview("0.0.0.0:0", Overlay([])) as preview:
        token = preview.url.split("?token=")[1]
        assert len(token) >= 20
        assert caplog.text.count(token) == 1
        assert get(preview, "/")[0].status == 401
        assert get(preview, "/metrics")[0].status == 401
        assert get(preview, "/healthz")[0].status == 200
        answer, _ = get(preview, f"/?token={token}")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert get(preview, "/status.json", {"Cookie": cookie.split(";")[0]})[0].status == 200
        assert get(preview, "/metrics", {"Authorization": f"Bearer {token}"})[0].status == 200


def test_a_port_in_use_and_an_address_of_another_machine_are_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--preview 127\.0\.0\.1:{port}: the port is in use"):
            Preview(f"127.0.0.1:{port}", Overlay([]))
    with pytest.raises(UsageError, match=r"--preview 192\.0\.2\.1:8080: cannot listen there"):
        Preview("192.0.2.1:8080", Overlay([]), "token")


def test_it_ends_at_once_whoever_is_waiting(overlay: CountingOverlay) -> None:
    threads = threading.active_count()
    preview = Preview("127.0.0.1:0", overlay)
    waiting = [socket.create_connection(("127.0.0.1", preview.port)) for _ in range(6)]
    for connection, path in zip(waiting, ["picture.jpg"] * 3 + ["stream.mjpg"] * 2, strict=False):
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    until(lambda: preview._picture.viewers == 5)
    began = time.monotonic()
    preview.close()
    preview.close()
    assert time.monotonic() - began < 5, "far more than it takes, and less than any patience of a thread"
    until(lambda: threading.active_count() <= threads)
    for connection in waiting:
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", preview.port))


def test_connections_are_bounded_and_come_free_again(preview: Preview) -> None:
    idle = [socket.create_connection(("127.0.0.1", preview.port)) for _ in range(MOST_CONNECTIONS)]
    until(lambda: len(preview._server._open) == MOST_CONNECTIONS)
    with pytest.raises((http.client.HTTPException, OSError)):
        get(preview, "/healthz")
    for connection in idle:
        connection.close()
    until(lambda: len(preview._server._open) < MOST_CONNECTIONS)
    assert get(preview, "/healthz")[0].status == 200


def test_a_drawing_that_fails_ends_the_pictures_and_not_the_run(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Overlay):
        def __call__(self, *arguments: Any) -> Any:
            raise ValueError("broken")

    with Preview("127.0.0.1:0", Broken([])) as preview:
        preview(result(1))
        assert get(preview, "/picture.jpg")[0].status == 503
        preview(result(2))
        assert status(preview)["results"] == 2
    assert "no more pictures: broken; the run goes on" in caplog.text
