"""`helmsight build`: an engine of TensorRT for this machine's GPU, tried, compared and kept, or nothing is changed."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from ...devices.errors import BadArtefact, GateFailed
from ..bundle import Bundle
from ..onnx_nodes import read_graph
from . import Library, tensorrt
from ._cuda import Cuda, open_cuda
from .compared import compare
from .engine import Engine
from .inspector import read_layers
from .network import Parsed, configure, graph_types, name_of, parse
from .progress import Progress, State, monitor
from .source import NetworkFile, asked_precision, input_shapes, network_file, older_command, reads_older
from .store import EngineKey, Store, Stored
from .trial import try_engine

log = logging.getLogger(__name__)

Report = Callable[[State], None]


@dataclass(frozen=True, slots=True)
class Built:
    """An engine and its record. `fresh` is False for one that was there already."""

    stored: Stored
    fresh: bool

    def to_json(self) -> dict[str, Any]:
        return {"engine": str(self.stored.file), "fresh": self.fresh, **self.stored.record}


def build(
    bundle: Bundle, report: Report = lambda state: None, force: bool = False, store: Store | None = None
) -> Built:
    """Build the engine of `bundle`, at the size of its manifest, for the first GPU; `force` also where it is there.

    Raises DeviceMismatch without TensorRT or a GPU, or when the engine does not run; BadArtefact with the nodes that
    TensorRT does not take; GateFailed when the engine has nothing of the precision that was exported, or computes
    something else than its file says.
    """
    library, cuda = tensorrt(), open_cuda()
    store = store or Store()
    file = network_file(bundle, library)
    key = engine_key(bundle, file, library, cuda)
    found = None if force else store.get(key)
    if found:
        return Built(found, fresh=False)
    parsed = _parsed(library, file, bundle)
    started = perf_counter()
    plan = _compiled(parsed, key, (store, cuda), report)
    took = perf_counter() - started
    facts = _tried(store, key, plan, asked_precision(bundle, file))
    compared = compare(bundle, file, lambda: Engine(library, cuda, plan, key.shapes))
    record = {
        "bundle": bundle.manifest.name,
        "rebuild": rebuild_command(bundle),
        "gpu": cuda.gpu.name,
        "network": file.name,
        "asked": file.precision,
        "graph": graph_types(parsed),
        "build_s": round(took, 3),
        **facts,
        "compared": compared,
    }
    return Built(store.put(key, plan, record), fresh=True)


def engine_key(bundle: Bundle, file: NetworkFile, library: Library, cuda: Cuda) -> EngineKey:
    """What the engine of `bundle` depends on here."""
    capability = cuda.gpu.compute_capability
    return EngineKey(file.sha256, library.name, library.version, capability, file.precision, input_shapes(bundle))


def rebuild_command(bundle: Bundle) -> str:
    """What to type to build the engine of `bundle` at this size."""
    sizes = [spec.image_hw for spec in bundle.manifest.inputs if spec.multiple]
    imgsz = f" --imgsz {sizes[0][1]}x{sizes[0][0]}" if sizes else ""
    return f"helmsight build {bundle.typed}{imgsz}"


def _parsed(library: Library, file: NetworkFile, bundle: Bundle) -> Parsed:
    """The network; where it is not taken, an error says how to get one that may be: with a file for TensorRT, and for
    8.x of one size.
    """
    try:
        return parse(library, file.data, str(bundle.path / file.name))
    except BadArtefact as error:
        said = f"{error}{read_graph(file.data, file.name).places(str(error))}"
        if reads_older(library) and any(spec.multiple for spec in bundle.manifest.inputs):
            raise BadArtefact(f"{said}; its picture's size is open: {older_command(bundle, library)}") from error
        if file.name != "model.onnx":
            raise BadArtefact(said) from error
        raise BadArtefact(
            f"{said}; the bundle has no file for TensorRT: export it with -t for this board "
            "(`helmsight export --list-targets`), where torch is installed"
        ) from error


def _compiled(parsed: Parsed, key: EngineKey, on: tuple[Store, Cuda], report: Report) -> bytes:
    """The engine, built with what was timed before, which is kept."""
    store, cuda = on
    config = configure(parsed, dict(key.shapes))
    timings = store.timing_cache(key.product, key.version, key.compute_capability)
    cache = config.create_timing_cache(store.read(timings))
    config.set_timing_cache(cache, False)
    with cuda.current():
        plan = compile_network(parsed, config, report)
    store.write(timings, bytes(config.get_timing_cache().serialize()))
    return plan


def compile_network(parsed: Parsed, config: Any, report: Report = lambda state: None) -> bytes:
    """The engine of a network. A signal ends it soon where the builder asks whether to go on (8.6 and later).

    Raises BadArtefact with all of the builder's own words when it cannot.
    """
    progress = Progress(report)
    watch = monitor(parsed.product.module, progress)  # must live as long as the builder works
    if watch is None:
        report(State(0.0, None, f"building: {parsed.product} does not tell how far it is, minutes may pass"))
    else:
        config.progress_monitor = watch
    made: list[Any] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            made.append(parsed.builder.build_serialized_network(parsed.network, config))
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    # In a thread of its own, so that this one sees Ctrl-C while the builder is busy. It is not joined: before
    # Python 3.13 a join that Ctrl-C interrupts takes the thread for ended.
    threading.Thread(target=work, name="build", daemon=True).start()
    try:
        _wait(done)
    except BaseException:  # Ctrl-C, or what the command makes of SIGTERM
        progress.cancelled = True
        if watch is not None:
            _wait(done)
        raise
    if failed:
        raise failed[0]
    if not made or made[0] is None:
        raise BadArtefact(f"{parsed.product} cannot build the network: {parsed.log.reason}")
    return bytes(made[0])


def _wait(done: threading.Event) -> None:
    """In turns, since a signal may reach another thread than the one that waits."""
    while not done.wait(0.05):
        pass


def _tried(store: Store, key: EngineKey, plan: bytes, asked: str) -> Mapping[str, Any]:
    """What of the record a child process found that loaded and ran it: what its inspector says that it computes in.

    Raises GateFailed for an engine that computes nothing in the precision `asked` for.
    """
    work = store.write(f"{key.id}.trial", plan)
    try:
        found = try_engine(work, hashlib.sha256(plan).hexdigest(), key.shapes)
    finally:
        work.unlink(missing_ok=True)
    try:
        types = read_layers(str(found["layers"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadArtefact(f"the engine inspector tells nothing of its layers ({error}); nothing was kept") from error
    if asked in ("fp16", "int8") and types and asked not in types and "unknown" not in types:
        counts = ", ".join(f"{n} in {kind}" for kind, n in types.items())
        raise GateFailed(
            f"the network is in {asked}, and the engine computes none of it so ({counts}); nothing was kept"
        )
    if asked in ("fp16", "int8") and (not types or "unknown" in types):
        log.warning("the engine inspector does not tell every layer's type: that it computes in %s is not known", asked)
    return {"precision": name_of(types), "real": types, "gpu_ms": found["gpu_ms"], "cuda_graph": found["graph"]}
