"""Polygraphy's `--save-outputs`: each runner with its iterations, whose `runtime` is in seconds.

Its form is that of RunResults in polygraphy/comparator/struct.py (NVIDIA/TensorRT):
{"lst": [[runner, [iteration, ...]], ...]}.
"""

from __future__ import annotations

from dataclasses import replace

from .foreign import Content, Foreign, nanoseconds


def is_run(content: Content) -> bool:
    """Whether Polygraphy marked it as results of runners, in its older way or today's."""
    data = content.data
    marked = isinstance(data, dict) and isinstance(data.get("lst"), list)
    return marked and (data.get("polygraphy_class") == "RunResults" or "__polygraphy_encoded_RunResults" in data)


def read_run(content: Content) -> list[Foreign]:
    """A result for each runner. Polygraphy warms up only when it is told to, which the file does not say."""
    found = []
    for runner, iterations in content.data["lst"]:
        times_ms = [one["runtime"] * 1e3 for one in iterations if one["runtime"] is not None]
        if not times_ms:
            raise ValueError(f"runner {runner} has no iteration with a runtime")
        samples, said = nanoseconds(times_ms), f"{len(times_ms)}, the first among them"
        result = Foreign(program="Polygraphy", name=content.name, engine=str(runner), samples_ns=samples)
        found.append(replace(result, facts=(("iterations", said),)))
    if not found:
        raise ValueError("it has no runner")
    return found
