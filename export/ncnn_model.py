"""From a bundle's ONNX file to ncnn's two files, by pnnx.

ncnn computes in float32 on planes and drops the batch. The head that takes a camera's bytes, their cast to float and
the transposition to planes, is therefore cut off in the ONNX graph, and `helmsight-run` does exactly that in its place.
"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..devices.errors import BadArtefact, DeviceMismatch, MissingExtra, need
from ..runtime.bundle import Bundle, TensorSpec
from ..runtime.onnx_nodes import read_graph
from .reductions import for_pnnx
from .sizes import at_usual_size

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

PLANES = "helmsight_planes"
"""What the cut graph calls its input, (1, C, H, W) float32."""
TO_NHWC = [0, 2, 3, 1]
PNNX_TIMEOUT_S = 300
PARAM_MARK = "7767517"
"""The first line of every `.param`."""
NAME = 255
"""Characters of a word of it, at most: ncnn reads no longer ones."""
PNNX_IR = 10
"""The newest layout of ONNX files that pnnx need read: what newer ones added, export does not write."""


def convert(bundle: Bundle, work: Path) -> tuple[bytes, bytes]:
    """The content of ncnn's `.param` and `.bin` for `bundle`, whose outputs `outN` are in the ONNX file's order.

    Raises DeviceMismatch for inputs and outputs that `helmsight-run` cannot feed or give, BadArtefact for what pnnx
    cannot convert. Files in between lie in `work`.
    """
    picture = the_picture(bundle)
    onnx = need("onnx", "train")
    model = onnx.load_model_from_string(bundle.read_model())
    model = for_pnnx(at_usual_size(model, [picture]))
    cut_head(model, picture)
    model.ir_version = min(model.ir_version, PNNX_IR)
    onnx.save_model(model, work / "cut.onnx")
    shape = ",".join(str(side) for side in planes(picture))
    command = [str(find_pnnx()), "cut.onnx", f"inputshape=[{shape}]", "fp16=0"]
    try:
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, errors="replace", timeout=PNNX_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BadArtefact(f"pnnx did not convert {bundle.model} in {PNNX_TIMEOUT_S} s") from error
    param, weights = work / "cut.ncnn.param", work / "cut.ncnn.bin"
    if done.returncode or not param.is_file() or not weights.is_file():
        lines = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
        reason = next((line for line in lines if "failed" in line), lines[-1]).strip()
        raise BadArtefact(f"pnnx cannot convert {bundle.model}: {reason} (exit {done.returncode})")
    written = param.read_bytes()
    if not written.isascii():
        raise BadArtefact(f"pnnx wrote names that ncnn's files cannot hold for {bundle.model}; use ASCII ones")
    return written, weights.read_bytes()


def check_layers(param: str, known: Collection[str], count: int) -> None:
    """Raises BadArtefact where `param` is cut off, has a layer that is not `known`, or not `count` outputs."""
    layers = list(_layers(param))
    strange = {f"{layer.kind} ({layer.name})" for layer in layers if layer.kind not in known}
    if strange:
        raise BadArtefact(
            f"ncnn has no layer for {', '.join(sorted(strange)[:5])}; take that operator out of the network, or "
            "choose a target that runs ONNX"
        )
    blobs = {name for layer in layers for name in layer.blobs}
    missing = {"in0", *(f"out{i}" for i in range(count))} - blobs
    if missing:
        raise BadArtefact(f"pnnx left {', '.join(sorted(missing))} out, so that the network is not whole in ncnn")


class _Layer(NamedTuple):
    kind: str
    name: str
    blobs: tuple[str, ...]


def _layers(param: str) -> Iterator[_Layer]:
    """What each line of a `.param` says after the first two: its mark, and how many layers and blobs there are.

    Raises BadArtefact for what is no such file, or not a whole one.
    """
    lines = [line.split() for line in param.split("\n") if line.strip()]
    sizes = lines[1] if len(lines) > 1 and lines[0] == [PARAM_MARK] else []
    if not param.isascii() or len(sizes) != 2 or sizes[0] != str(len(lines) - 2):
        raise BadArtefact(f"pnnx wrote no whole .param ({len(lines)} lines, {' '.join(sizes)[:40]!r}); export again")
    for words in lines[2:]:
        counts = words[2:4]
        numbers = len(counts) == 2 and all(count.isdigit() and len(count) < 5 for count in counts)
        if not numbers or not all(word.isprintable() and len(word) <= NAME for word in words):
            raise BadArtefact(f"pnnx wrote {' '.join(words)[:80]!r}, which is no layer of ncnn; export again")
        blobs = tuple(words[4 : 4 + sum(map(int, counts))])
        if len(blobs) < sum(map(int, counts)):
            raise BadArtefact(f"pnnx wrote layer {words[1][:80]!r} with {len(blobs)} of its blobs; export again")
        yield _Layer(words[0], words[1], blobs)


def the_picture(bundle: Bundle) -> TensorSpec:
    """The one input. Raises DeviceMismatch where the program cannot feed it, or cannot give an output."""
    inputs, outputs = bundle.manifest.inputs, bundle.manifest.outputs
    shown = ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)} {spec.layout}".strip() for spec in inputs)
    picture = inputs[0]
    if len(inputs) != 1 or not picture.layout or picture.dtype not in ("uint8", "float32") or picture.shape[0] != 1:
        raise DeviceMismatch(
            f"helmsight-run feeds one picture of uint8 or float32 at a time; this network takes {shown}; make one "
            "picture its input, or choose a target that runs ONNX"
        )
    for output in outputs:
        if output.dtype != "float32" or not all(isinstance(side, int) for side in output.shape):
            found = f"{output.name} is {output.dtype} {list(output.shape)}{_made_by(bundle, output.name)}"
            raise DeviceMismatch(
                f"helmsight-run gives outputs of float32 and of one size; {found}; return the scores that it is made "
                "of, or choose a target that runs ONNX"
            )
    return picture


def _made_by(bundle: Bundle, tensor: str) -> str:
    """The node that gives it, as ` (ArgMax, at net.py:12)`."""
    nodes = read_graph(bundle.read_model(), bundle.model.name).nodes
    made = next((node for node in nodes if tensor in node.outputs), None)
    return f" ({', '.join(part for part in (made.operator, made.place) if part)})" if made else ""


def planes(picture: TensorSpec) -> tuple[int, int, int, int]:
    """The shape (1, C, H, W) of a picture of any layout."""
    channels = picture.shape[picture.layout.index("C")]
    return 1, int(channels), *picture.image_hw


def cut_head(model: ModelProto, picture: TensorSpec) -> None:
    """Make `picture` an input of float32 planes, in place: its own name is then made of them inside the graph."""
    helper = need("onnx", "train").helper
    graph = model.graph
    graph.input[0].CopyFrom(helper.make_tensor_value_info(PLANES, 1, planes(picture)))
    if picture.layout == "NHWC":
        graph.node.insert(0, helper.make_node("Transpose", [PLANES], [picture.name], perm=TO_NHWC))
    else:
        graph.node.insert(0, helper.make_node("Identity", [PLANES], [picture.name]))
    while _fold_one(graph):
        pass
    del graph.value_info[:]  # of other types and layouts than before
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")


def find_pnnx() -> Path:
    """Its program. Found without importing it, which would load torch. Raises MissingExtra."""
    spec = find_spec("pnnx")
    folder = Path(str(spec.origin)).parent if spec else Path()
    program = folder / "pnnx"
    if spec is None or not program.is_file():
        raise MissingExtra("pnnx is not installed; it comes with: pip install 'helmsight[tk1]'")
    return program


def pnnx_version() -> str:
    """As its package says it."""
    return metadata.version("pnnx")


def _fold_one(graph: GraphProto) -> bool:
    """Take one node out that does nothing to the float32 planes; False when there is none."""
    made = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        source = made.get(node.input[0]) if node.input else None
        if node.op_type == "Identity" and node.input[0] == PLANES:
            _bypass(graph, node, PLANES)
        elif node.op_type == "Cast" and _integer(node, "to") == 1 and _moved_planes(node.input[0], made):
            _bypass(graph, node, node.input[0])
        elif node.op_type == "Transpose" and source is not None and source.op_type == "Transpose":
            if [_integers(source)[axis] for axis in _integers(node)] != [0, 1, 2, 3]:
                continue
            _bypass(graph, node, source.input[0])
        elif node.op_type == "Transpose" and node.input[0] == PLANES and not _used(graph, node.output[0]):
            graph.node.remove(node)
        else:
            continue
        return True
    return False


def _moved_planes(name: str, made: dict[str, NodeProto]) -> bool:
    """Whether `name` is the planes, transposed or not."""
    while name in made and made[name].op_type == "Transpose":
        name = made[name].input[0]
    return name == PLANES


def _bypass(graph: GraphProto, node: NodeProto, source: str) -> None:
    """Let all that read `node` read `source`, and take it out."""
    for reader in graph.node:
        for index, name in enumerate(reader.input):
            if name == node.output[0]:
                reader.input[index] = source
    graph.node.remove(node)


def _used(graph: GraphProto, name: str) -> bool:
    return any(name in node.input for node in graph.node) or any(name == output.name for output in graph.output)


def _integer(node: NodeProto, name: str) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), 0)


def _integers(node: NodeProto) -> Sequence[int]:
    """A transposition's order; without one, all axes turned round."""
    found = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
    return found or [3, 2, 1, 0]
