"""What an older export did not count in a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from helmsight.runtime.bundle import Bundle, open_bundle
from helmsight.runtime.profiler import counted
from helmsight.runtime.profiler.counted import graph_of, peak_bytes

NOT_COUNTED = ("depthwise", "peak_bytes")


def older(bundle: Bundle) -> Bundle:
    """The bundle as an export made it that did not count all of the graph."""
    provenance = dict(bundle.manifest.provenance)
    graph: Mapping[str, Any] = provenance["graph"]
    provenance["graph"] = {key: value for key, value in graph.items() if key not in NOT_COUNTED}
    return replace(bundle, manifest=replace(bundle.manifest, provenance=provenance))


def test_it_is_what_the_export_counts() -> None:
    pytest.importorskip("onnxruntime")
    bundle = open_bundle("navigate")
    said = bundle.manifest.provenance["graph"]
    assert peak_bytes(bundle) == said["peak_bytes"]
    assert graph_of(older(bundle)) == said == graph_of(bundle)


def test_of_a_network_whose_size_is_open_it_is_the_export_s_at_the_usual_one() -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from helmsight.export.graph import summarise
    from helmsight.export.sizes import at_usual_size

    bundle = open_bundle("face")
    model = onnx.load_model_from_string(bundle.read_model())
    said = summarise(at_usual_size(model, bundle.manifest.inputs)).to_json()
    found = graph_of(older(bundle))
    assert {key: found[key] for key in NOT_COUNTED} == {key: said[key] for key in NOT_COUNTED}


def test_without_onnx_runtime_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "find_spec", lambda _: None)
    assert "peak_bytes" not in graph_of(older(open_bundle("navigate")))


def test_at_another_size_nothing_is_known() -> None:
    assert graph_of(open_bundle("face").resized((480, 640))) == {}
