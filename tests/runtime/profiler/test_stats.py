"""Order statistics, the support rule and the bootstrap, against values worked out by hand or by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmsight.runtime.profiler.stats import bootstrap, interval, percentile, queries_needed, rank, ratio_draws


@pytest.mark.parametrize(
    ("samples", "p", "expected"),
    [
        ([3, 1, 2], 0.5, 2),
        ([4, 1, 3, 2], 0.5, 2),  # the lower of the two in the middle, not their mean
        (list(range(1, 101)), 0.9, 90),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 101)), 0.07, 7),  # 0.07 * 100 is above 7 in floating point
        (list(range(1, 101)), 1.0, 100),
        (list(range(1, 11)), 0.99, 10),
        ([5], 0.01, 5),
    ],
)
def test_percentiles_are_nearest_rank(samples: list[int], p: float, expected: int) -> None:
    assert percentile(np.array(samples, np.uint64), p) == expected


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=200), st.floats(0.001, 1.0))
def test_the_share_at_or_below_a_percentile_is_what_was_asked(samples: list[int], p: float) -> None:
    found = percentile(np.array(samples, np.uint64), p)
    assert found in samples
    assert sum(s <= found for s in samples) >= p * len(samples) - 1e-6
    assert sum(s < found for s in samples) <= p * len(samples)


@pytest.mark.parametrize(("p", "n"), [(0.0, 5), (1.1, 5), (0.5, 0)])
def test_what_is_no_percentile_is_refused(p: float, n: int) -> None:
    with pytest.raises(ValueError, match="percentile"):
        rank(p, n)


def test_the_sample_counts_are_those_that_mlperf_prints() -> None:
    assert {p: queries_needed(p) for p in (0.9, 0.95, 0.99)} == {0.9: 23_886, 0.95: 50_425, 0.99: 262_742}


def test_the_bootstrap_depends_on_its_seed_alone() -> None:
    samples = np.random.default_rng(5).integers(1000, 2000, 500)
    assert (bootstrap(samples, 0.5, seed=1) == bootstrap(samples, 0.5, seed=1)).all()
    assert (bootstrap(samples, 0.5, seed=1) != bootstrap(samples, 0.5, seed=2)).any()


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 500])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_the_bootstrap_is_that_of_resamples_really_built(n: int, p: float) -> None:
    samples = np.random.default_rng(n).integers(0, 50, n)
    blocks = np.array_split(samples, min(32, n))
    picks = np.random.default_rng(3).multinomial(len(blocks), [1 / len(blocks)] * len(blocks), size=40)
    built = [
        percentile(np.concatenate([b for b, count in zip(blocks, row, strict=True) for _ in range(count)]), p)
        for row in picks
    ]
    assert sorted(built) == bootstrap(samples, p, seed=3, draws=40).tolist()


def test_samples_that_hang_together_get_a_wider_interval() -> None:
    """A run of two halves, one slow: drawn one by one, its median would look certain."""
    rng = np.random.default_rng(0)
    mixed = rng.integers(1000, 2000, 4000)
    drifting = np.sort(mixed)
    widths = [interval(bootstrap(s, 0.5)) for s in (mixed, drifting)]
    assert widths[1].high - widths[1].low > 3 * (widths[0].high - widths[0].low)


def test_the_interval_of_a_ratio_holds_the_true_one() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(1000, 50, 4000).astype(np.uint64), rng.normal(1100, 50, 4000).astype(np.uint64)
    found = interval(ratio_draws(a, b, 0.5))
    assert found.low < 1.1 < found.high
    assert found.high - found.low < 0.02


def test_a_constant_run_has_no_spread_and_zeros_have_a_ratio() -> None:
    same = np.full(100, 7, np.uint64)
    assert interval(bootstrap(same, 0.9)) == interval(np.array([7.0]))
    assert np.isfinite(ratio_draws(np.zeros(10, np.uint64), same, 0.5)).all()
