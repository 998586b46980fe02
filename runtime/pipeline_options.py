"""How the pipeline treats time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How the pipeline treats time.

    A drive command from a frame older than `max_age_ms` becomes a Stop, as does silence of that length; it holds
    for live sources, since a file has no age. `max_frames` 0 is no limit. With `one_size` all frames must be of one.

    The others are for live sources. One that gives nothing for `lost_after_s` (or three of its frame times) is said to
    be silent, and left behind for a fresh one of the same camera when it is its `read` that hangs; opening and the
    first frame after it may take `open_patience_s`, later less where it was quick before. One that gives the same frame
    again for `frozen_after_s` (0: that is not looked for) or whose `read` says that it is lost is opened again, after
    waits that double from `reopen_first_s` to `reopen_last_s`, each shortened by up to half by chance. One that was
    never there is an error at once, or with `wait_for_source` waited for likewise.
    """

    max_age_ms: float = 500.0
    max_frames: int = 0
    one_size: bool = False
    lost_after_s: float = 0.8
    frozen_after_s: float = 0.8
    open_patience_s: float = 10.0
    reopen_first_s: float = 0.1
    reopen_last_s: float = 0.5
    wait_for_source: bool = False
