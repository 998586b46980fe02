"""Fits the model that predicts latency on GPUs that are not at hand, and says how far off it is.

`data/published_latency.csv` has published figures of TensorRT at batch 1 with their sources, a row a device, network,
precision and source, with what timed it; operations and parameters are of models that were counted (`computed`) or
published. The model is tested on devices, and on networks, of which it has seen no figure (leave one out), its form
chosen anew in each fold, beside two that anybody would try first: operations over peak, and a table of ratios between
devices. `--fit` writes the model that ships.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from helmsight.devices.prediction import COVERAGE, MODEL

from .harness import Goal, Result, parser
from .latency_fits import (
    FORMS,
    SHIPS,
    Array,
    Fit,
    Fitted,
    Row,
    by_device,
    by_network,
    chosen,
    fit,
    held_back,
    over_peak,
    ratios,
    read,
)

SHARES = (0.10, 0.25, 0.50)
QUANTILE = 0.93
"""Of held-back errors, for an interval that holds nine of ten figures of a device that is not among them."""
MODELS: dict[str, Fit] = {"this model": chosen, "operations over peak": over_peak, "table of ratios": ratios}
GROUPS: dict[str, Callable[[Row], str]] = {"device": by_device, "network": by_network}
NOTES = (
    "Each figure is of a device, or of a network, that the model has not seen, neither in fitting nor in choosing its "
    "form: that is done anew among what each fold has left. The sixteen forms are those of the second table; what they "
    "have in common was chosen earlier by such shares, and which terms were worth a place among them after some sixty "
    "tries (prediction_experiments.md), so they are a little favoured.",
    "How a figure was timed is known to the model: an engine called from C++ (`engine`, as what is predicted for a "
    "bundle), a call from Python with a framework's tensors (`framework`), that with what comes before and after the "
    "network (`loop`), or MLPerf's tuned harness (`mlperf`).",
    "FP32 from Ampere on is TF32 on tensor cores here, TensorRT's default: the largest networks are faster than the "
    "boards' FP32 peaks allow. What is predicted as fp32 is without it, as helmsight's engines are.",
    "Ten figures are of boards in a mode of less power (MLPerf's MaxQ), six of them with clocks that were not "
    "published; they are counted as if the clocks were the full ones.",
    "The published world does not agree with itself: the same device, network and precision from two sources differ by "
    "1.13 times in the median, up to 2.5 times where one of them timed a loop in Python.",
    "The interval's factor is the 93 % quantile of the held-back errors, of all figures or of `engine` alone, "
    "whichever is more. How often it holds is counted with the factor from the other devices.",
)


def factor_of(errors: Array, rows: Sequence[Row]) -> float:
    """The interval's, as a logarithm: of all figures, or of those that are timed as what is predicted, if more."""
    size, alike = np.abs(errors), np.array([r.harness == "engine" for r in rows])
    return max(float(np.quantile(part, QUANTILE)) for part in (size, size[alike]) if len(part))


def held(errors: Array, rows: Sequence[Row]) -> Array:
    """Which figures the interval holds, with the factor from the other devices' errors."""
    devices, inside = np.array([r.device for r in rows]), np.zeros(len(rows), bool)
    for name in set(devices.tolist()):
        here = devices == name
        others = [r for r in rows if r.device != name]
        inside[here] = np.abs(errors[here]) <= factor_of(errors[~here], others)
    return inside


def shares(errors: Array) -> dict[str, str]:
    """Of predictions within so much of what was published."""
    off = np.abs(np.exp(errors) - 1)
    return {f"within {s:.0%}": f"{(off <= s).mean():.0%}" for s in SHARES}


def factors(errors: Array) -> dict[str, float]:
    """Either way, of the median figure and of nine in ten."""
    size = np.abs(errors)
    return {"median factor": float(np.exp(np.median(size))), "90 % factor": float(np.exp(np.quantile(size, COVERAGE)))}


def main() -> None:
    """Cross-validate, and write the result; with --fit the model too."""
    made = parser(__doc__ or "")
    made.add_argument("--fit", action="store_true", help="write the model that ships")
    made.add_argument("--plot", type=Path, help="draw predicted over published, devices held back (.png)")
    args = made.parse_args()
    rows = read()
    errors = {(of, name): held_back(rows, group, make) for of, group in GROUPS.items() for name, make in MODELS.items()}
    of_devices = errors["device", "this model"]
    factor = float(np.exp(factor_of(of_devices, rows)))
    if args.plot:
        _draw(args.plot, rows, of_devices, factor)
    if args.fit:
        _write(fit(rows, SHIPS), factor, rows)
    table = [{"held back": of, "model": name, **shares(e), **factors(e)} for (of, name), e in errors.items()]
    more = {
        "Each form, chosen beforehand, devices held back": _forms(rows),
        "Each device, held back": _each("device", [r.device for r in rows], of_devices, rows),
        "Each way of timing, devices held back": _each("timed", [r.harness for r in rows], of_devices, rows),
        "Each precision, devices held back": _each("precision", [r.precision for r in rows], of_devices, rows),
    }
    options = {"figures": len(rows), "interval's factor": f"{factor:.3f}"}
    options |= {f"{of}s": len({group(r) for r in rows}) for of, group in GROUPS.items()}
    title = "Predicted latency beside published figures"
    Result("prediction", title, options, table, _goals(rows, errors), None, more, NOTES).write(args.out)


def _forms(rows: Sequence[Row]) -> list[dict[str, object]]:
    best = chosen(rows).form
    return [
        {
            **{name: "yes" if known else "" for name, known in form._asdict().items()},
            **shares(found),
            **factors(found),
            "": ", ".join(["best"] * (form == best) + ["ships"] * (form == SHIPS)),
        }
        for form in FORMS
        for found in (held_back(rows, by_device, partial(fit, form=form)),)
    ]


def _each(what: str, keys: Sequence[str], errors: Array, rows: Sequence[Row]) -> list[dict[str, object]]:
    inside = held(errors, rows)
    return [
        {
            what: key,
            "figures": int(here.sum()),
            **shares(errors[here]),
            "in the interval": f"{inside[here].mean():.0%}",
            "median of predicted over published": float(np.exp(np.median(errors[here]))),
            "median factor": factors(errors[here])["median factor"],
        }
        for key in sorted(set(keys))
        for here in (np.array(keys) == key,)
    ]


def _goals(rows: Sequence[Row], errors: dict[tuple[str, str], Array]) -> list[Goal]:
    goals = []
    for of in GROUPS:
        off = np.abs(np.exp(errors[of, "this model"]) - 1)
        goals += [
            Goal(f"{of} held back, share within 25 %", float((off <= 0.25).mean()), 0.5, at_least=True),
            Goal(f"{of} held back, share within 50 %", float((off <= 0.5).mean()), 0.8, at_least=True),
        ]
    inside = float(held(errors["device", "this model"], rows).mean())
    return [*goals, Goal("share that the interval holds, device held back", inside, COVERAGE, at_least=True)]


def _draw(path: Path, rows: Sequence[Row], errors: Array, factor: float) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axes = figure.subplots()
    published = np.array([r.ms for r in rows])
    predicted = published * np.exp(errors)
    span = np.array([published.min() / 2, published.max() * 2])
    axes.fill_between(span, span / factor, span * factor, color="0.92", label=f"{COVERAGE:.0%} interval")
    axes.plot(span, span, color="0.4", lw=1)
    for name, mark in zip(sorted({r.device for r in rows}), "osD^v<>phX*", strict=True):
        of = np.array([r.device == name for r in rows])
        axes.plot(published[of], predicted[of], mark, ms=5, mfc="none", mew=1.1, label=name)
    axes.set(xscale="log", yscale="log", xlim=span, ylim=span, xlabel="published, ms", ylabel="predicted, ms")
    axes.set_title("TensorRT at batch 1: each device predicted by a fit to the others")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def _write(fitted: Fitted, factor: float, rows: Sequence[Row]) -> None:
    model = asdict(fitted.model) | {"factor": factor}
    about = {
        "fitted_by": "python -m benchmarks.prediction --fit",
        "figures": len(rows),
        "devices": sorted({r.device for r in rows}),
        "added_ms": fitted.added_ms,
        "mlperf_factor": fitted.mlperf_factor,
    }
    MODEL.write_text(json.dumps({"about": about, "model": model}, indent=1) + "\n")


if __name__ == "__main__":
    main()
