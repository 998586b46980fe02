"""The form that JSON must have before code relies on it: types of values, keys of objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Form = Any
"""A type, a tuple of types, or one of the classes below."""

NAMES = {str: "a text", int: "an integer", float: "a number", bool: "true or false", dict: "an object", list: "a list"}
NUMBER = (int, float)
OBJECT = dict


@dataclass(frozen=True, slots=True)
class Each:
    """An object whose values all have one form."""

    form: Form


@dataclass(frozen=True, slots=True)
class Rows:
    """A list whose items all have one form, `least` to `most` of them."""

    form: Form
    least: int = 0
    most: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with all keys of `needed`, those of `known` maybe, and others of any form."""

    needed: Mapping[str, Form] = field(default_factory=dict)
    known: Mapping[str, Form] = field(default_factory=dict)


def check_form(value: Any, form: Form, name: str) -> None:
    """Raises ValueError that says where in `name` it is of another form, the value there and the expected one."""
    if isinstance(form, Fields):
        _expect(value, dict, name)
        if missing := [key for key in form.needed if key not in value]:
            raise ValueError(f"{name} has no {', '.join(missing)}")
        for key, one in {**form.needed, **form.known}.items():
            if key in value:
                check_form(value[key], one, f"{name}.{key}")
    elif isinstance(form, Each):
        _expect(value, dict, name)
        for key, item in value.items():
            check_form(item, form.form, f"{name}.{key}")
    elif isinstance(form, Rows):
        _expect(value, list, name)
        if not form.least <= len(value) <= form.most:
            raise ValueError(f"{name} has {len(value)} items; expected {form.least} to {form.most}")
        for index, item in enumerate(value):
            check_form(item, form.form, f"{name}[{index}]")
    else:
        _expect(value, form, name)


def _expect(value: Any, form: type | tuple[type, ...], name: str) -> None:
    kinds = form if isinstance(form, tuple) else (form,)
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return
    expected = "a number" if kinds == NUMBER else " or ".join(NAMES.get(kind, "null") for kind in kinds)
    raise ValueError(f"{name} is {_shown(value)}; expected {expected}")


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
