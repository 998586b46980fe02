"""The table as Markdown and CSV: full figures, empty where unknown, and no text that breaks it."""

import csv
import io
import re

import pytest

from helmsight.runtime.profiler.report.columns import csv_text, markdown, plain
from helmsight.runtime.profiler.report.rows import entries_of

from ....profiles import a_profile, around


def test_the_csv_has_every_figure_in_full() -> None:
    profile = a_profile(around(1_234_567), metrics={"ap50": {"value": 0.8765, "n": 168}})
    (row,) = csv.DictReader(io.StringIO(csv_text(entries_of([profile]))))
    (summary,) = profile.summaries
    assert [float(row[c]) for c in ("p50_ms", "p90_ms", "p99_ms")] == [q.ms for q in summary.percentiles]
    assert (float(row["p50_low_ms"]), float(row["p50_high_ms"])) == (summary.median_ms.low, summary.median_ms.high)
    assert (row["result"], row["queries"], row["p99_supported"]) == ("measured", "2000", "False")
    assert (row["metric"], float(row["score"])) == ("ap50", 0.8765)
    assert (row["watts"], row["fps_per_usd"], row["memory_bytes"], row["board"]) == ("", "", "", "")


def test_the_markdown_is_a_table_whatever_the_names_are() -> None:
    made = entries_of([a_profile(around(10**6), bundle="a|b<c>\n*"), a_profile(around(10**6), bundle="navigate")])
    head, rule, *rows = markdown(made).split("\n\n")[0].splitlines()
    assert len(rows) == 2
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in (head, rule, *rows)]
    assert len(set(cells)) == 1
    assert "a\\|b&lt;c&gt;?\\*" in rows[0]
    assert "Not available for any row: FPS per watt" in markdown(made)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0678, "0.0678"),
        (0.00001234, "0.00001234"),
        (1.234, "1.23"),
        (45.67, "45.7"),
        (12345.6, "12,346"),
        (99.96, "100"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert plain(value) == text
