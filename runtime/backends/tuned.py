"""What `helmsight build --autotune` found fastest for this bundle on this machine, of those that passed its gates."""

from __future__ import annotations

import logging
from dataclasses import replace

from ...devices.errors import DeviceMismatch
from ...devices.processor import processor
from ..bundle import Bundle
from ..tuning import find
from . import Session, SessionOptions
from . import load as load_session

log = logging.getLogger(__name__)


def load(bundle: Bundle, options: SessionOptions) -> Session:
    """Load `bundle` the way that was kept, in no more threads than are given; see `backends.load`.

    Raises DeviceMismatch without a tuning for this machine, with the command that makes it (it is never made here), or
    where nothing that passed takes so few threads.
    """
    try:
        tuning = find(bundle)
        row = tuning.best(options.threads or processor().usable_cores)
    except DeviceMismatch as error:
        if not options.allow_fallback:
            raise
        log.warning("%s; it runs in ONNX Runtime as usual, as --allow-fallback allows", error)
        return load_session(bundle, replace(options, device="cpu"))
    log.warning(
        "%s runs on %s, as tuned on %s: %.3g ms, %.2f times as fast as --device cpu then",
        *(bundle.path, row.way, tuning.made["date_utc"], row.p50_ms, row.times_as_fast),
    )
    return load_session(bundle, row.way.options(options))
