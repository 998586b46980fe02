"""What failed is told with every error that the library logged, once and in order: the last seldom says the cause."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from helmsight.devices.errors import BadArtefact, DeviceMismatch
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.engines.build import build
from helmsight.runtime.engines.engine import Engine

from .conftest import Machine
from .fakes import PLAN, fake_library, log_errors

CAUSE = "2: [graphOptimizer.cpp::mergeScales::884] Error Code 2: Internal Error (Assertion equalOrZero(...) failed. )"
LAST = (
    "2: [builder.cpp::buildSerializedNetwork::751] Error Code 2: Internal Error (Assertion engine != nullptr failed. )"
)
"""As TensorRT 8.5.3.1 said of one network on a GPU."""


def test_a_build_that_fails_tells_its_cause_and_not_the_last_error_alone(bundle: Bundle, machine: Machine) -> None:
    module = machine.product.module
    make = module.Builder

    def builder(log: Any) -> Any:
        made = make(log)
        made.build_serialized_network = lambda network, config: log_errors(log, CAUSE, CAUSE, LAST, CAUSE)
        return made

    module.Builder = builder
    with pytest.raises(BadArtefact) as caught:
        build(bundle)
    assert str(caught.value) == f"TensorRT 10.3.0.30 cannot build the network: {CAUSE}; {LAST}"


def test_a_build_that_fails_without_a_word_says_so(bundle: Bundle, machine: Machine) -> None:
    machine.product = fake_library(machine.cuda, built=None)
    with pytest.raises(BadArtefact, match=r"cannot build the network: it does not say why$"):
        build(bundle)


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (["node 3", "node 9", "node 3"], f"node 1 (node 3); node 1 (node 9); {CAUSE}"),
        ([], f"--- Begin node ---; {CAUSE}; While parsing node number 1"),
    ],
)
def test_a_file_that_is_not_taken_tells_the_nodes_and_what_lay_beneath(
    bundle: Bundle, machine: Machine, refused: list[str], said: str
) -> None:
    """The parser logs each of its errors too, with the whole text of the node."""
    errors = [SimpleNamespace(desc=lambda one=one: one, node=lambda: 1) for one in refused]

    def parser(network: Any, log: Any) -> Any:
        def parse(data: bytes) -> bool:
            log_errors(log, "--- Begin node ---", CAUSE, "While parsing node number 1", CAUSE)
            return False

        return SimpleNamespace(parse=parse, num_errors=len(errors), get_error=errors.__getitem__)

    machine.product.module.OnnxParser = parser
    with pytest.raises(BadArtefact) as caught:
        build(bundle)
    assert f"model.onnx: {said}" in str(caught.value)


def test_an_engine_that_does_not_load_or_run_tells_all_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"x": (1, 3)}
    with pytest.raises(
        DeviceMismatch, match=r"does not take the engine \(the magic tag does not match; deserializing f"
    ):
        Engine(machine.product, machine.cuda, b"", shapes)
    with Engine(machine.product, machine.cuda, PLAN, shapes) as engine:
        monkeypatch.setattr(engine._context, "execute_async_v3", lambda stream: log_errors(engine._log, "a", "b", "a"))
        with pytest.raises(RuntimeError, match=r"^the engine does not run: a; b$"):
            engine._enqueue()
