"""The engine inspector's JSON as 8.5 and 10 write it: in which type convolutions and matrix products are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helmsight.runtime.engines.inspector import read_layers
from helmsight.runtime.engines.network import name_of


def layer(datatype: str, kind: str = "CaskConvolution", **more: Any) -> dict[str, Any]:
    return {"Name": "conv", "LayerType": kind, "Inputs": [{"Name": "x", "Format/Datatype": datatype}], **more}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (layer("Row major linear FP32"), "fp32"),
        (layer("Channel major FP16 format where channel % 8 == 0"), "fp16"),
        (layer("Thirty-two wide channel vectorized row major Int8 format"), "int8"),
        (layer("Half"), "fp16"),
        (layer("Float"), "fp32"),
        (layer("BFloat16"), "bf16"),
        (layer("FP8"), "fp8"),
        (layer("Float", Weights={"Type": "Int8", "Count": 9}), "int8"),
        (layer("Float", Weights={"Type": "", "Count": 9}), "fp32"),
        (layer("N/A due to dynamic shapes"), "unknown"),
        (layer("Half", "gemm"), "fp16"),
        (layer("Half", "Reformat", ParameterType="Convolution"), "fp16"),
        ({**layer("Half", "Myelin"), "Name": "{ForeignNode[conv1...conv2]}"}, "fp16"),
    ],
)
def test_a_layer_is_of_the_type_that_it_says(one: dict[str, Any], expected: str) -> None:
    assert read_layers(json.dumps({"Layers": [one]})) == {expected: 1}


def test_layers_are_counted_and_others_left_out() -> None:
    layers = [layer("Half"), layer("Half"), layer("Float"), layer("Float", "Reformat"), layer("Float", "PointWiseV2")]
    found = read_layers(json.dumps({"Layers": [*layers, "only a name"]}))
    assert found == {"fp16": 2, "fp32": 1}
    assert (name_of(found), name_of({"int8": 3}), name_of({})) == ("mixed", "int8", "unknown")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"Layers": 3}'])
def test_what_is_no_such_json_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_layers(text)
