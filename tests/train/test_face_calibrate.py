"""Calibration: scores that become probabilities, on detections made with a known law."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helmsight.train.face.calibrate import apply, calibration_error, fit  # noqa: E402
from helmsight.train.face.evaluate import Matches  # noqa: E402
from helmsight.train.face.model import build  # noqa: E402


def drawn(slope: float, offset: float, n: int = 20_000) -> Matches:
    """Detections whose chance of being right is sigmoid(slope * logit(score) + offset)."""
    rng = np.random.default_rng(0)
    score = rng.uniform(0.02, 0.95, n).astype(np.float32)
    chance = apply(score, slope, offset)
    return Matches(score, rng.random(n) < chance, n)


def test_the_law_is_found_and_the_error_goes() -> None:
    matches = drawn(3.0, -1.5)
    with torch.no_grad():
        slope, offset = fit(matches)
    assert (slope, offset) == pytest.approx((3.0, -1.5), abs=0.15)
    before = calibration_error(matches.score, matches.right)
    after = calibration_error(apply(matches.score, slope, offset), matches.right)
    assert before > 0.1
    assert after < 0.02


def test_the_order_stays() -> None:
    score = np.linspace(0.02, 0.98, 50, dtype=np.float32)
    assert (np.diff(apply(score, 2.5, -1.0)) > 0).all()


@pytest.mark.parametrize("right", [[True, True], [False, False], []])
def test_what_cannot_be_fitted_is_left_alone(right: list[bool]) -> None:
    score = np.linspace(0.3, 0.6, len(right), dtype=np.float32)
    assert fit(Matches(score, np.array(right, bool), len(right))) == (1.0, 0.0)


def test_better_scores_for_wrong_ones_are_not_turned_around() -> None:
    matches = drawn(3.0, 0.0)
    assert fit(Matches(matches.score, ~matches.right, matches.faces)) == (1.0, 0.0)


def test_the_network_applies_it_to_scores_and_to_no_loss() -> None:
    torch.manual_seed(0)
    net, picture = build().eval(), torch.randint(0, 256, (1, 96, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        logits, plain = net.logits(picture)[0], net(picture)[0]
        net.calibration.copy_(torch.tensor([2.0, -1.0]))
        assert torch.equal(net.logits(picture)[0], logits)
        assert torch.allclose(net(picture)[0], torch.sigmoid(2 * logits - 1))
    assert torch.allclose(plain, torch.sigmoid(logits))
