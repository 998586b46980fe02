"""A PyTorch network as exported files are compared with it: run as a session would be, and what it returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..devices.errors import UsageError, need
from ..runtime.bundle import TensorSpec
from ..runtime.parity import Run
from .input_spec import advice
from .inputs import SEED, generate
from .loading import code_line, first_line

if TYPE_CHECKING:
    from torch import nn

Arrays = Mapping[str, NDArray[Any]]


def torch_run(module: nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Run:
    """A callable that runs `module` as a session would: arrays in by name, arrays out by name."""
    torch = need("torch", "train")

    def run(feeds: Arrays) -> Arrays:
        with torch.inference_mode():
            made = module(*(torch.from_numpy(np.array(feeds[spec.name])) for spec in inputs))
        _, values = flatten_outputs(made)
        return {spec.name: value.numpy() for spec, value in zip(outputs, values, strict=True)}

    return run


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute in one thread meanwhile.

    Its sums then always have the same order, and on a busy machine its threads, which spin, do not wait for each
    other: thousands of runs of a small network took minutes there instead of seconds.
    """
    torch = need("torch", "train")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def probe_outputs(module: nn.Module, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Run `module` once on generated values and describe what comes out.

    Raises UsageError when it does not take these inputs, or returns what no board can give back.
    """
    torch = need("torch", "train")
    (feeds,) = generate(tuple(inputs), SEED, 1)
    example = [torch.from_numpy(feeds[spec.name]) for spec in inputs]
    try:
        with torch.inference_mode():
            made = module(*example)
    except Exception as error:  # the user's own code
        shown = ", ".join(f"{spec.name} {spec.dtype} {'x'.join(map(str, spec.shape))}" for spec in inputs)
        failed = f"{first_line(error)}{code_line(error)}"
        raise UsageError(f"the network does not take {shown} ({failed}); {advice(error)}") from error
    names, values = flatten_outputs(made)
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, torch.Tensor):
            raise UsageError(f"output {name!r} is a {type(value).__name__}; expected nothing but tensors")
    if not values:
        raise UsageError("the network returns nothing; expected a tensor, or a tuple or dict of them")
    return tuple(
        TensorSpec(name, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in zip(names, values, strict=True)
    )


def flatten_outputs(made: Any) -> tuple[list[str], list[Any]]:
    """Names and values of a network's outputs: a dict's keys, a named tuple's fields, else output, or output0, ..."""
    if isinstance(made, dict):
        return [str(key) for key in made], list(made.values())
    if isinstance(made, (tuple, list)):
        fields = getattr(made, "_fields", None) or [f"output{i}" for i in range(len(made))]
        return (["output"] if len(made) == 1 and not hasattr(made, "_fields") else list(fields)), list(made)
    return ["output"], [made]
