"""Keeps what torch's exporter prints away from the user's screen, in a file that can be read when something fails."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def output_to(log: Path | None) -> Iterator[None]:
    """Send standard output, standard error and warnings to `log` meanwhile; None leaves them where they are.

    The file descriptors themselves are moved as well, since loggers that were set up earlier and C++ code write
    there: other threads of this process are silenced too.
    """
    if log is None:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("a") as stream, contextlib.ExitStack() as stack:
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, descriptor)
            os.dup2(stream.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(stream))
        stack.enter_context(contextlib.redirect_stderr(stream))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")
        warnings.showwarning = lambda *args: print(warnings.formatwarning(*args[:4]), file=stream)
        yield
