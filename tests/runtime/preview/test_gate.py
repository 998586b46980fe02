import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.preview.gate import Address, Gate, parse_address

HERE = {"Host": "127.0.0.1:8080"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:80", "::1", 80, True),
        ("0.0.0.0:8080", "0.0.0.0", 8080, False),
        ("robot.lan:9000", "robot.lan", 9000, False),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int, loopback: bool) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.loopback) == (host, port, loopback)


@pytest.mark.parametrize("text", ["8080", "host", ":80", "host:", "host:port", "host:70000", "a:1/x", "u:p@host:1", ""])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected HOST:PORT, such as 127\.0\.0\.1:8080"):
        parse_address(text)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", HERE, None),
        ("GET", {"Host": "localhost:8080"}, None),
        ("GET", {"Host": "evil.example:8080"}, 403),
        ("GET", {"Host": "127.0.0.1.evil.example"}, 403),
        ("GET", {"Host": "["}, 403),
        ("GET", {}, 403),
        ("POST", HERE | JSON, None),
        ("POST", HERE | JSON | {"Origin": "http://127.0.0.1:8080"}, None),
        ("POST", HERE | JSON | {"Origin": "http://127.0.0.1:9999"}, 403),
        ("POST", HERE | JSON | {"Origin": "http://evil.example"}, 403),
        ("POST", HERE | JSON | {"Origin": "null"}, 403),
        ("POST", HERE | {"Content-Type": "text/plain"}, 415),
        ("POST", HERE, 415),
    ],
)
def test_on_loopback_only_this_machine_and_the_page_itself(method: str, headers: dict, status: int | None) -> None:
    refused = Gate(Address("127.0.0.1", 8080), None).refusal(method, {}, headers)
    assert (refused[0] if refused else None) == status


@pytest.mark.parametrize(
    ("query", "headers", "let_in"),
    [
        ({}, {}, False),
        ({"token": "wrong"}, {}, False),
        ({"token": "sécret"}, {}, False),
        ({"token": "secret"}, {}, True),
        ({}, {"Authorization": "Bearer secret"}, True),
        ({}, {"Authorization": "Bearer wrong"}, False),
        ({}, {"Cookie": "other=1; helmsight_8080=secret"}, True),
        ({}, {"Cookie": "helmsight_9090=secret"}, False),
        ({}, {"Cookie": "helmsight_8080=;;=="}, False),
    ],
)
def test_elsewhere_only_those_with_the_token(query: dict, headers: dict, let_in: bool) -> None:
    refused = Gate(Address("0.0.0.0", 8080), "secret").refusal("GET", query, {"Host": "robot:8080"} | headers)
    assert (refused is None) == let_in
    if refused:
        assert refused[0] == 401
        assert "secret" not in refused[1]
