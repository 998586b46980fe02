"""Importing what a user names, `package.module:callable`, and reading weights: every way it can fail is one line."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..devices.errors import BadArtefact, HelmsightError, UsageError, need
from ..runtime.bundle import sha256

if TYPE_CHECKING:
    from torch import Tensor, nn

STATE_KEYS = ("state_dict", "model_state_dict", "model")
"""Where training loops keep the state dict in a file that has more: the optimizer's, the epoch."""
WRAPPERS = ("module.", "_orig_mod.")


def import_callable(text: str) -> Callable[..., Any]:
    """What `package.module:callable` names, looked for in the working directory first, as `python -m` does."""
    module_name, _, attribute = text.partition(":")
    if not (module_name and attribute):
        raise UsageError(f"{text} names no callable; expected package.module:callable, e.g. my_model:build")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageError(
                f"no module {module_name} in {here} or on Python's path; run where it lies, or install it"
            ) from error
        raise UsageError(f"{module_name} imports {error.name}, which is not installed; install it") from error
    except Exception as error:  # the user's own code: anything may come
        raise UsageError(f"importing {module_name} failed with {what_failed(error)}; mend it there") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = ", ".join(n for n in vars(found) if not n.startswith("_") and callable(getattr(found, n)))[:200]
            raise UsageError(f"{module_name} has no {attribute}; it has {known or 'no callables'}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{text} is a {type(found).__name__}; expected a callable that returns a torch.nn.Module")
    result: Callable[..., Any] = found
    return result


def build_module(text: str, config: Mapping[str, Any] | None = None) -> nn.Module:
    """Call what `text` names with `config` and return its network, in eval mode on the CPU.

    A network that stands in the module by name is taken as it is.
    """
    nn_module = need("torch", "train").nn.Module
    made: Any = import_callable(text)
    if not isinstance(made, nn_module):
        _check_signature(text, made, config or {})
        try:
            made = made(**(config or {}))
        except HelmsightError:
            raise
        except Exception as error:  # the user's own code
            raise UsageError(f"{text} failed with {what_failed(error)}; mend it there") from error
    if not isinstance(made, nn_module):
        weights = "; save it, name what builds the network, and add --weights FILE" if isinstance(made, Mapping) else ""
        raise UsageError(f"{text} returned a {type(made).__name__}; expected a torch.nn.Module{weights}")
    network: nn.Module = made.eval().cpu()
    return network


def read_weights(file: Path) -> dict[str, Tensor]:
    """The state dict in a `.safetensors` file, or in a `.pt`/`.pth` one read without running pickled code."""
    if not file.is_file():
        raise UsageError(f"no weights at {file}; expected a .safetensors, .pt or .pth file")
    state: Any
    try:
        if file.suffix == ".safetensors":
            need("safetensors", "train")
            state = importlib.import_module("safetensors.torch").load_file(file)
        elif file.suffix in (".pt", ".pth"):
            state = need("torch", "train").load(file, map_location="cpu", weights_only=True)
        else:
            raise UsageError(f"weights {file} end in {file.suffix or 'nothing'}; expected .safetensors, .pt or .pth")
    except HelmsightError:
        raise
    except Exception as error:  # each reader raises classes of its own
        if re.search("unsupported (global|class)", str(error), re.IGNORECASE):  # torch's advice is to run it
            raise BadArtefact(
                f"{file} holds more than tensors, as a network saved whole does, and reading that would run its code; "
                "save model.state_dict() instead"
            ) from error
        raise BadArtefact(
            f"{file} cannot be read as a state dict ({first_line(error)}); save model.state_dict() with safetensors"
        ) from error
    for key in STATE_KEYS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    torch = need("torch", "train")
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise BadArtefact(f"{file} holds no state dict of tensors; save model.state_dict()")
    return state


def load_weights(module: nn.Module, file: Path) -> None:
    """Put the weights of `file` into `module`; every key must be in both, with the same shape."""
    own = module.state_dict()
    state = _unwrapped(read_weights(file), own)
    wrong = {
        "missing": [k for k in own if k not in state],
        "unexpected": [k for k in state if k not in own],
        "of another shape": [
            f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}"
            for k in own
            if k in state and state[k].shape != own[k].shape
        ],
    }
    said = [f"{len(keys)} {kind} ({_few(keys)})" for kind, keys in wrong.items() if keys]
    if said:
        raise BadArtefact(f"{file} does not fit {type(module).__name__}: {'; '.join(said)}; give its own weights")
    module.load_state_dict(state)


def _unwrapped(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` without what DataParallel or torch.compile puts in front of every key, unless `own` has it too."""
    for prefix in WRAPPERS:
        if state and all(key.startswith(prefix) for key in state) and not any(key.startswith(prefix) for key in own):
            return {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def source_sha256(text: str) -> str:
    """SHA-256 of the Python file that defines `package.module:callable`, "" when it has none."""
    file = getattr(sys.modules.get(text.partition(":")[0]), "__file__", None)
    return sha256(Path(file)) if file and Path(file).is_file() else ""


def first_line(error: BaseException) -> str:
    """The class and the first line of an error's text, as far as a terminal can show it."""
    lines = str(error).strip().splitlines()
    shown = "".join(c if c.isprintable() else "?" for c in lines[0].strip()[:200]) if lines else ""
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__


def code_line(trace: str | BaseException) -> str:
    """The innermost line of the user's code in a trace, as ` at net.py:12 `y = x.inverse()``; "" where it has none.

    Of an error that came through here, those lines are the user's that are neither torch's, Python's own, nor the
    first, which called them.
    """
    if isinstance(trace, BaseException):
        trace = "".join(traceback.format_tb(trace.__traceback__)[1:])
    frames = re.findall(r'File "([^"]+)", line (\d+)(?:, in [^\n]*\n?([^\n]*))?', trace)
    users = [frame for frame in frames if _is_users(Path(frame[0]))]
    if not users:
        return ""
    file, line, code = users[-1]
    return f" at {Path(file).name}:{line}" + (f" `{code.strip()}`" if code.strip() else "")


def _is_users(file: Path) -> bool:
    torch, python = Path(str(need("torch", "train").__file__)).parent, Path(traceback.__file__).parent
    packages = {"site-packages", "dist-packages"}
    return not (
        torch in file.parents or file.name.startswith("<") or (python in file.parents and not packages & {*file.parts})
    )


def what_failed(error: BaseException) -> str:
    """The error and the innermost line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{first_line(error)}{where}"


def _check_signature(text: str, call: Callable[..., Any], config: Mapping[str, Any]) -> None:
    try:
        inspect.signature(call).bind(**config)
    except TypeError as error:
        given = f"the options {', '.join(config)}" if config else "no arguments"
        raise UsageError(f"{text} is called with {given}: {error}; give it defaults") from error
    except ValueError:  # a callable of C code has no signature to look at
        return


def _few(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (", ..." if len(keys) > most else "")
