"""The table of targets: what each board can have, what is refused and with which next step, and what fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from helmsight.devices.device import catalog, device
from helmsight.devices.errors import DeviceMismatch, UsageError
from helmsight.export import targets
from helmsight.export.artefacts import KINDS
from helmsight.export.targets import PLANS, check_targets, renamed, row, rows


def test_the_table_has_every_board_and_kinds_that_are_there() -> None:
    cards = [f"rtx-sm{c}" for c in (75, 80, 86, 89, 120, 121)]
    assert [one.name for one in rows()] == ["cpu", *(board.id for board in catalog()), *cards]
    assert {board.served_by.key for board in catalog()} == set(PLANS)
    assert {kind for plan in PLANS.values() for kinds in plan.artefacts.values() for kind in kinds} == set(KINDS)
    for one in rows():
        if one.state != "planned":
            for kinds in one.plan.artefacts.values():
                for kind in kinds:
                    __import__(f"helmsight.export.artefacts.{KINDS[kind]}")


@pytest.mark.parametrize(
    ("name", "precisions"),
    [
        ("cpu", ("fp32", "fp16", "bf16", "int8")),
        ("rpi4b", ("fp32", "fp16", "int8")),
        ("jetson-tk1", ("fp32",)),
        ("jetson-tx1", ("fp32", "fp16")),
        ("jetson-nano", ("fp32", "fp16")),
        ("jetson-tx2", ("fp32", "fp16")),
        ("jetson-xavier-nx", ("fp32", "fp16", "int8")),
        ("jetson-orin-nano-super", ("fp32", "fp16", "int8")),
        ("dgx-1-p100", ("fp32", "fp16")),
        ("dgx-1-v100", ("fp32", "fp16", "int8")),
        ("dgx-spark", ("fp32", "fp16", "int8")),
    ],
)
def test_precisions_follow_from_the_compute_capability(name: str, precisions: tuple[str, ...]) -> None:
    assert row(name).precisions == precisions


@pytest.mark.parametrize(
    ("name", "precision", "why", "step"),
    [
        ("tk1", "int8", "no instructions|neither has", "use --precision fp32"),
        ("tk1", "fp16", "its CPU and its GPU compute in fp32 only", "use --precision fp32"),
        ("jetson-nano", "int8", r"compute capability 5\.3\) has no instructions for int8", "use --precision fp16"),
        ("jetson-tx2", "int8", r"compute capability 6\.2\)", "use --precision fp16"),
    ],
)
def test_an_impossible_precision_is_refused_with_the_nearest(name: str, precision: str, why: str, step: str) -> None:
    with pytest.raises(DeviceMismatch, match=why) as caught:
        check_targets(["cpu", name], precision)
    assert step in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_what_is_slower_than_fp32_is_not_offered_by_itself() -> None:
    """As `benchmarks/cpu_engines.py` measures it: it is made for who asks."""
    for name in ("cpu", "rpi4b"):
        offered = row(name).to_json()
        assert [p for p in offered["precisions"] if p not in offered["on_request"]] == ["fp32"]
    assert row("jetson-orin-nano").to_json()["on_request"] == []


def test_names_are_ids_or_aliases_and_count_once() -> None:
    assert [one.name for one in check_targets(["cpu", "rpi4", "CPU", "rpi4b"], "int8")] == ["cpu", "rpi4b"]
    assert [one.name for one in check_targets(["jetson-orin-nano", "A100"], "fp32")] == [
        "jetson-orin-nano-8g",
        "dgx-a100",
    ]
    with pytest.raises(UsageError, match="did you mean jetson-orin-nx or jetson-agx-orin"):
        check_targets(["jetson-orin"], "fp32")
    (card,) = check_targets(["rtx-sm86"], "fp16")
    assert (card.artefacts, card.compute_capability) == (("tensorrt-rtx",), "8.6")
    assert check_targets(["jetson-nano/trtexec"], "fp32")[0].artefacts == ("trtexec",)
    with pytest.raises(UsageError, match="jetson-nano gets trtexec"):
        check_targets(["jetson-nano/tensorrt"], "fp32")
    with pytest.raises(UsageError, match="give it once"):
        check_targets(["rpi4b", "rpi4b/onnxruntime"], "fp32")
    with pytest.raises(UsageError, match="-t toaster is neither `cpu`, rtx-smNN nor a board"):
        check_targets(["toaster"], "fp32")
    with pytest.raises(UsageError, match=r"-t rtx4090: a card is named by its compute capability .* rtx-sm89"):
        check_targets(["rtx4090"], "fp32")
    with pytest.raises(UsageError, match=r"rtx-sm121; use -t jetson-orin-nano-8g or .* or jetson-agx-orin-64g$"):
        check_targets(["rtx-sm87"], "fp32")
    with pytest.raises(UsageError, match="-t cpu,t4: expected one target; give -t once for each"):
        check_targets(["cpu,t4"], "fp32")
    with pytest.raises(UsageError, match="-t '' is neither"):
        check_targets([""], "fp32")
    with pytest.raises(UsageError, match="no target"):
        check_targets([], "fp32")


def test_an_alias_is_told_what_it_means() -> None:
    asked = ["cpu", "jetson-orin-nano", "Jetson-TK1", "a100/tensorrt", "rtx-sm89", "a100"]
    assert renamed(asked) == (
        "-t jetson-orin-nano is jetson-orin-nano-8g, Jetson Orin Nano 8GB",
        "-t a100 is dgx-a100, DGX A100 (8x A100 40GB)",
    )


def test_each_artefact_says_in_which_precisions_it_is_made() -> None:
    assert row("jetson-nano").artefacts == {"trtexec": ("fp32", "fp16"), "ncnn": ("fp32",)}
    assert row("dgx-spark").artefacts == dict.fromkeys(("tensorrt", "tensorrt-rtx"), ("fp32", "fp16", "int8"))


def test_what_is_planned_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    board = device("dgx-a100")
    planned = replace(board, served_by=replace(board.served_by, state="planned", today="its CPU"))
    monkeypatch.setattr(targets, "device", lambda name: planned)
    with pytest.raises(DeviceMismatch, match=r"this version does not build for it; .* TensorRT.*; today: its CPU"):
        check_targets(["dgx-a100"], "fp32")


def test_peak_memory_is_of_what_is_alive_at_one_time() -> None:
    onnx = pytest.importorskip("onnx", reason="the network of this test is written with onnx")
    from helmsight.export.graph import summarise

    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    # x (16 B) -> a (16) -> b (16), then y = b + x: x, a, b are never alive together with y
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Add", ["b", "x"], ["y"]),
    ]
    shapes = [helper.make_tensor_value_info(name, real, [4]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", shapes[:1], shapes[1:]), opset_imports=[helper.make_opsetid("", 18)]
    )
    assert summarise(model).peak_bytes == 48
    assert summarise(model).activation_bytes == 48


def test_a_board_on_a_cpu_gets_the_file_and_how_to_run_it(folder: Path) -> None:
    pytest.importorskip("torch", reason="export needs the train extra")
    from helmsight.export.build import ExportOptions, export

    bundle = export("nets:build", ExportOptions(inputs=("1x3x16x16",), targets=("rpi4b",)))
    record = bundle.manifest.parity["rpi4b"]
    assert record["precision"] == "fp32"
    assert record["artefacts"]["onnxruntime"]["run"].endswith("--device cpu")
    assert "| `rpi4b` | onnxruntime | fp32 |" in (bundle.path / "README.md").read_text()
