"""A window on the screen."""

from __future__ import annotations

from collections.abc import Callable

from ...devices.errors import UsageError, need
from ..results import Result
from ._base import BaseSink
from .overlay import Overlay

TITLE = "helmsight"
KEY_ESC, KEY_Q = 27, ord("q")


class Window(BaseSink):
    """Shows the annotated picture; `q` or Esc calls `stop`. Used from the main thread, as GUI toolkits ask."""

    def __init__(self, overlay: Overlay, stop: Callable[[], None]) -> None:
        cv2 = need("cv2", "cpu")
        self._overlay = overlay
        self._stop = stop
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise UsageError(f"--show: this OpenCV opens no window ({_short(error)}); use --record") from error

    def __call__(self, result: Result) -> None:
        import cv2

        cv2.imshow(TITLE, self._overlay(result))
        if cv2.waitKey(1) & 0xFF in (KEY_ESC, KEY_Q):
            self._stop()

    def close(self) -> None:
        import cv2

        cv2.destroyAllWindows()


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
