"""Every attribute that helmsight uses is in NVIDIA's real Python bindings of TensorRT 10.16 and 11.4.

Their libraries need a GPU and are not on the package index; the bindings import over empty ones, made here with a C
compiler. That shows names, and nothing of what they do.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helmsight.devices.errors import MissingExtra
from helmsight.runtime import engines
from helmsight.runtime.fetch import Package, cache_folder, fetch

VERSIONS = {
    10: Package(
        "tensorrt-cu13-bindings",
        "10.16.1.11",
        "tensorrt_cu13_bindings-10.16.1.11-cp311-none-manylinux_2_28_x86_64.whl",
        "f986d47980d042cc126506a9b84586e55ad13737a7a46826fe45457c04d66294",
        "LicenseRef-NVIDIA-Proprietary",
    ),
    11: Package(
        "tensorrt-cu13-bindings",
        "11.4.0.106",
        "tensorrt_cu13_bindings-11.4.0.106-cp311-none-manylinux_2_28_x86_64.whl",
        "d072ac2a095e2be749fefc847adfb25d5ebe70303401df62ede8fe67a59f27fc",
        "LicenseRef-NVIDIA-Proprietary",
    ),
}
USED = {
    "": ["Builder", "OnnxParser", "Runtime", "float16", "float32", "__version__", "IProgressMonitor"],
    "Builder": ["create_network", "create_builder_config", "create_optimization_profile", "build_serialized_network"],
    "IBuilderConfig": [
        *("clear_flag", "profiling_verbosity", "add_optimization_profile", "progress_monitor"),
        *("create_timing_cache", "set_timing_cache", "get_timing_cache"),
    ],
    "BuilderFlag": ["TF32"],
    "ProfilingVerbosity": ["DETAILED"],
    "ITimingCache": ["serialize"],
    "INetworkDefinition": ["num_inputs", "get_input", "num_layers", "get_layer"],
    "IOptimizationProfile": ["set_shape"],
    "ILayer": ["type", "get_input", "get_output"],
    "ITensor": ["name", "shape", "dtype"],
    "LayerType": ["CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM", "DEQUANTIZE"],
    "DataType": ["FLOAT", "HALF", "BF16", "INT8", "FP8", "UINT8", "INT32", "INT64", "BOOL"],
    "OnnxParser": ["parse", "num_errors", "get_error"],
    "ParserError": ["desc", "node", "node_name", "node_operator"],
    "ILogger": ["Severity", "log"],
    "ILogger.Severity": ["ERROR", "INTERNAL_ERROR"],
    "IProgressMonitor": ["phase_start", "step_complete", "phase_finish"],
    "Runtime": ["deserialize_cuda_engine"],
    "ICudaEngine": [
        *("num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_dtype"),
        *("create_execution_context", "create_engine_inspector"),
    ],
    "TensorIOMode": ["INPUT"],
    "IExecutionContext": [
        *("set_input_shape", "get_tensor_shape", "set_tensor_address", "execute_async_v3", "profiler"),
    ],
    "IProfiler": ["report_layer_time"],
    "EngineInspector": ["execution_context", "get_engine_information"],
    "LayerInformationFormat": ["JSON"],
}
"""By class. What only 8.5 has and is asked for with `hasattr`, or only in a weakly typed network, is in ONLY_OLD."""
ONLY_OLD = {
    *("EXPLICIT_BATCH", "FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "precision", "set_output_type"),
    "output_type_is_set",
    *(
        "set_preview_feature",
        "set_tactic_sources",
        "get_tactic_sources",
        "TacticSource",
        "CUBLAS",
        "CUBLAS_LT",
        "CUDNN",
    ),
}
STUBS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry"),
    *("getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins"),
)
ASK = """
import json, sys
import tensorrt_bindings as trt

def has(kind, name):
    found = trt
    for part in kind.split("."):
        found = getattr(found, part) if part else found
    return hasattr(found, name)

used = json.loads(sys.argv[1])
missing = [f"{kind}.{name}" for kind, names in used.items() for name in names if not has(kind, name)]
flags = list(trt.BuilderFlag.__members__), list(trt.NetworkDefinitionCreationFlag.__members__)
print(json.dumps({"version": trt.__version__, "missing": missing, "flags": flags[0], "creation": flags[1]}))
"""


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda major: f"TensorRT-{major}")
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the bindings answer to ASK in a child."""
    major = request.param
    if sys.version_info[:2] != (3, 11) or sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("the wheel of the bindings is for CPython 3.11 on x86-64 Linux")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the empty libraries")
    try:
        wheel = fetch(VERSIONS[major], cache_folder())  # unpacked
    except MissingExtra as error:
        pytest.skip(f"the bindings cannot be fetched: {error}")
    folder = tmp_path_factory.mktemp(f"trt{major}")
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in STUBS))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{major}"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source]
        subprocess.run(command, check=True, capture_output=True)
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(USED)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_every_attribute_is_there(bindings: dict[str, object]) -> None:
    assert bindings["missing"] == []


def test_a_version_has_strong_typing_or_nothing_else(bindings: dict[str, object]) -> None:
    """From 11 on the flags that choose a precision are gone: with them a tool builds fp32 and says nothing."""
    assert "STRONGLY_TYPED" in bindings["creation"]  # type: ignore[operator]
    old = str(bindings["version"]).startswith("10.")
    assert ({"FP16", "INT8"} <= set(bindings["flags"])) == old  # type: ignore[call-overload]


def test_the_list_is_of_what_the_code_uses() -> None:
    """Names after a dot in the code that are TensorRT's by their receiver; each is in USED or ONLY_OLD."""
    receivers = {"trt", "builder", "network", "config", "parser", "layer", "profile", "_context", "_engine", "_runtime"}
    receivers |= {"_trt", "inspector", "error", "BuilderFlag", "ProfilingVerbosity", "flags", "Severity", "LayerType"}
    listed = {name for names in USED.values() for name in names} | set(USED) | ONLY_OLD
    found = set()
    for file in ("network.py", "engine.py", "progress.py", "layers.py"):
        tree = ast.parse((Path(engines.__file__).with_name(file)).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                of = node.value
                receiver = of.id if isinstance(of, ast.Name) else of.attr if isinstance(of, ast.Attribute) else ""
                if receiver in receivers:
                    found.add(node.attr)
    assert {"execute_async_v3", "set_tensor_address", "clear_flag", "precision"} <= found
    ours = {"NetworkDefinitionCreationFlag", "TensorIOMode", "type", "num_outputs", "set_flag", "errors", "close"}
    assert found - listed - ours == set()
