"""Settings for all tests of training."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """As `fit` sets it: on a busy machine two threads wait for each other most of the time."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
