"""How the pictures look, and their SVG: reproducible, small, and fit to stand in a page that may be dark.

Colours are of one short list, so that a page can exchange them for its own; everything that a colour says, a dash, a
marker or a number says too.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .entry import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, PAPER, FAINT, GRID = "#1c1c1c", "#fefefe", "#616161", "#dcdcdc"
GREYS = (INK, "#7a7a7a")
HUES = ("#0f5ea8", "#b3470b", "#0b7a52", "#8a3a86")
VARIABLES = {INK: "ink", PAPER: "paper", FAINT: "faint", GRID: "grid"} | {h: f"hue{i}" for i, h in enumerate(HUES)}
DASHES = ("-", "--", ":", "-.", (0, (9, 2)), (0, (6, 1.5, 1, 1.5, 1, 1.5)))
MARKERS = "osD^vPX*"
WIDTH_IN = 5.6
"""Of every picture: 403 CSS pixels, so that its letters can be read on a telephone too."""

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "helmsight",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.8,
    "hatch.color": INK,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "figure.facecolor": PAPER,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one row is drawn everywhere. `number` is the row's in the table; a predicted row is hollow and hatched."""

    number: int
    colour: str
    dash: str | tuple[float, tuple[float, ...]]
    marker: str
    hollow: bool

    @property
    def fill(self) -> str:
        return PAPER if self.hollow else self.colour


def looks(entries: Sequence[Entry], hues: Sequence[str] = HUES) -> list[Look]:
    """Colour and marker tell the bundles apart, the dash what was measured, an empty marker what was predicted."""
    bundles = list(dict.fromkeys(e.bundle for e in entries))
    found: list[Look] = []
    for number, entry in enumerate(entries, 1):
        bundle = bundles.index(entry.bundle)
        measured = sum(not look.hollow for look in found)
        colour, marker = hues[bundle % len(hues)], MARKERS[bundle % len(MARKERS)]
        found.append(Look(number, colour, DASHES[measured % len(DASHES)], marker, entry.predicted))
    return found


@contextmanager
def settings() -> Iterator[None]:
    """Inside, matplotlib draws as `style.py` says, whatever the reader's matplotlibrc has."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in another script: in an SVG the reader's font draws it, in a PNG it is a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def svg(figure: Figure) -> str:
    """The figure as an SVG document: the same bytes for the same figure."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(?<=[ "])(d|x|y|x1|x2|y1|y2|width|height|transform|points)="[^"]*"', _rounded, text)
    text = re.sub(r' transform="rotate\(-?0 [^)]*\)"|<defs>\s*</defs>', "", text)
    return re.sub(r"\n\s*", "\n", text[text.index("<svg") :])


def inline(document: str, name: str, label: str) -> str:
    """The SVG document as an element of a page: no address in it, its ids its own, colours the page's variables.

    `label` must be escaped already.
    """
    body = document.replace("xlink:href", "href")
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', body))
    kept = {one or other for one, other in used}
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in kept else "", body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(
        r"font-family: [^;\"]*;?|font: ([\d.]+px) [^;\"]*", lambda m: f"font-size: {m[1]}" if m[1] else "", body
    )
    box = re.search(r'viewBox="[^"]+"', body)
    assert box, "matplotlib's SVG has a viewBox"
    return f'<svg {box[0]} role="img" aria-label="{label}">' + body[body.index(">") + 1 :]


def _rounded(found: re.Match[str]) -> str:
    """Hundredths of a point are finer than any screen."""
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), found[0])
