"""The search for the fewest layers, on functions that stand for gates."""

import pytest

from helmsight.export.repair import fewest, most_kept


@pytest.mark.parametrize("most", [1, 2, 3, 7, 8, 20])
def test_the_least_that_passes_is_found(most: int) -> None:
    for least in range(1, most + 1):
        tried: list[int] = []

        def passes(k: int, least: int = least, tried: list[int] = tried) -> bool:
            tried.append(k)
            return k >= least

        assert fewest(passes, most) == least
        assert len(tried) == len(set(tried))
        assert max(tried) <= most
    assert fewest(lambda k: False, most) is None


def test_nothing_to_keep_is_never_tried() -> None:
    assert fewest(lambda k: pytest.fail("tried"), 0) is None


def test_one_product_is_left_in_the_lower_precision() -> None:
    assert most_kept({"a", "c"}, ["a", "b", "c", "d"]) == 2
    assert most_kept({"d"}, ["a", "b", "c", "d"]) == 3
    assert most_kept(set(), ["a"]) == 0
