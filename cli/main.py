"""The `helmsight` command: gathers the commands, and turns errors into one line and an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from importlib import import_module
from typing import Annotated

import typer

from .. import __version__
from ..devices.errors import HelmsightError
from ._output import log_to_stderr

# One file a command: `cli/NAME.py` holds a function `register(app)`. The order is the order of `--help`.
COMMANDS: tuple[str, ...] = (
    "train",
    "evaluate",
    "export",
    "inspect",
    "verify",
    "build",
    "camera",
    "calibrate",
    "profile",
    "compare",
    "devices",
    "doctor",
    "demo",
)

OPENCV = {
    # OpenCV and its FFmpeg print on their own; what matters of it is in our one line.
    "OPENCV_LOG_LEVEL": "OFF",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    # Its default, and a stream's rate is told from 5 frames, not 20: opening takes half a second less, each time.
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp|fpsprobesize;5",
}
"""What the environment tells OpenCV, where the user has not."""

app = typer.Typer(
    name="helmsight",
    help="Take a vision model from PyTorch to a small computer with a camera, and lose nothing silently.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _all_commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for _name in COMMANDS:
    import_module(f".{_name}", __package__).register(app)


def main() -> None:
    """Run the command line; exit with the code of the error, as docs/exit-codes.md lists them."""
    for name, value in OPENCV.items():
        os.environ.setdefault(name, value)
    log_to_stderr()
    # So that what is in temporary folders goes, as with Ctrl-C; `camera` has its own way to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    atexit.register(gc.freeze)  # the garbage goes with the process; looking for it took a fifth of a second of the end
    try:
        app()
    except HelmsightError as error:
        print(f"helmsight: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
