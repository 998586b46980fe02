"""JSON that others wrote: bounded before it is parsed, and nothing in it that two readers could read differently."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from ..devices.errors import BadArtefact
from .limits import JSON_DEPTH, JSON_NUMBER, JSON_STRING, MANIFEST_BYTES

_TOKEN = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)
"""What decides how deep a text is nested: an escaped character, a quotation mark, a bracket."""
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, marks that turn the direction of text, halves of surrogate pairs."""


def parse_json(data: bytes, name: str, largest: int = MANIFEST_BYTES) -> Any:
    """The value in `data`, UTF-8 text of at most `largest` bytes; `name` says in messages what it is.

    Raises BadArtefact, with the value and the limit, for what is no JSON, larger or deeper nested than allowed, or has
    a key twice, NaN, Infinity, numbers beyond 64 bits, strings that are too long or that no terminal can show.
    """
    if len(data) > largest:
        raise BadArtefact(f"{name} has {len(data)} bytes; at most {largest} are read")
    _check_depth(data, name)
    refuse = _refusal(name)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=lambda pairs: _object(pairs, refuse),
            parse_int=lambda text: _integer(text, refuse),
            parse_float=lambda text: _real(text, refuse),
            parse_constant=lambda text: refuse(f"{text}; expected finite numbers"),
        )
    except (ValueError, RecursionError) as error:  # both JSON's and UTF-8's decoding errors are ValueErrors
        raise BadArtefact(f"{name} is no JSON ({_first_line(error)})") from error
    _check_strings(value, refuse)
    return value


def _refusal(name: str) -> Callable[[str], NoReturn]:
    def refuse(what: str) -> NoReturn:
        raise BadArtefact(f"{name} has {what}")

    return refuse


def _check_depth(data: bytes, name: str) -> None:
    depth, quoted = 0, False
    for token in _TOKEN.finditer(data):
        mark = token.group()
        if mark == b'"':
            quoted = not quoted
        elif not quoted and len(mark) == 1:
            depth += 1 if mark in b"[{" else -1
        if depth > JSON_DEPTH:
            raise BadArtefact(f"{name} is nested more than {JSON_DEPTH} deep; no file of helmsight is")


def _object(pairs: list[tuple[str, Any]], refuse: Callable[[str], NoReturn]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            refuse(f"the key {_shown(key)} twice in one object")
        found[key] = value
    return found


def _integer(text: str, refuse: Callable[[str], NoReturn]) -> int:
    if len(text) > 20 or abs(int(text)) >= JSON_NUMBER:
        refuse(f"the number {text[:20]}{'...' * (len(text) > 20)}; expected less than {JSON_NUMBER} in size")
    return int(text)


def _real(text: str, refuse: Callable[[str], NoReturn]) -> float:
    value = float(text)
    if not math.isfinite(value):
        refuse(f"the number {text[:20]}, which is not finite in 64 bits")
    return value


def _check_strings(value: Any, refuse: Callable[[str], NoReturn]) -> None:
    """Depth is bounded by now, so that this may call itself."""
    if isinstance(value, str):
        if len(value) > JSON_STRING:
            refuse(f"a string of {len(value)} characters; at most {JSON_STRING} are read")
        if found := _UNPRINTABLE.search(value):
            refuse(f"the character U+{ord(found.group()):04X} in {_shown(value)}, which cannot be shown")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key, refuse)
            _check_strings(item, refuse)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item, refuse)


def _shown(text: str) -> str:
    return ascii(text[:40])


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
