"""What stands behind the `?` of a source's address, checked."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl

from ...devices.errors import UsageError


class Options:
    """The options in `query`; raises UsageError for one that is not `known`, stands there twice or cannot be meant."""

    def __init__(self, uri: str, query: str, known: Collection[str]) -> None:
        pairs = parse_qsl(query, keep_blank_values=True)
        self._uri, self._values = uri, dict(pairs)
        for name, _ in pairs:
            if name not in known:
                raise self.error(f"{name} is unknown; expected {', '.join(sorted(known))}")
        if len(self._values) < len(pairs):
            raise self.error("an option stands there twice; expected once each")

    def error(self, said: str) -> UsageError:
        """What to raise for a value that cannot be meant."""
        return UsageError(f"--source {self._uri}: {said}")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def one_of(self, name: str, expected: Collection[str], default: str) -> str:
        """A word."""
        value = self._values.get(name, default)
        if value not in expected:
            raise self.error(f"{name} is {value!r}; expected {' or '.join(expected)}")
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return int(self._number(name, default, low, high, int, f"a whole number from {low} to {high}"))

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return self._number(name, default, low, high, float, f"a number from {low:g} to {high:g}")

    def size(self, name: str, default: str = "640x480") -> tuple[int, int]:
        """Height and width in pixels out of WIDTHxHEIGHT."""
        text = self._values.get(name, default)
        sides = text.lower().split("x")
        if len(sides) != 2 or not all(s.isascii() and s.isdigit() and 16 <= int(s) <= 4096 for s in sides):
            raise self.error(f"{name} is {text!r}; expected WIDTHxHEIGHT from 16 to 4096, such as 640x480")
        return int(sides[1]), int(sides[0])

    def text(self, name: str) -> str:
        """As it stands there, or nothing."""
        return self._values.get(name, "")

    def _number(
        self, name: str, default: float, low: float, high: float, kind: type[int] | type[float], expected: str
    ) -> float:
        text = self._values.get(name, str(default))
        try:
            value = kind(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise self.error(f"{name} is {text!r}; expected {expected}")
        return value
