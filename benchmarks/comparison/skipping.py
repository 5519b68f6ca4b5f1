"""What skipping saves where components are far apart: cost follows the components that a row really has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from comparison.ceilings import seconds_of
from comparison.timing import Spread
from problems import Shape, make_separate_problem, make_soft_problem

from fastem import Gaussian, available_engines, get_engine
from fastem.families.base import Packed

SHAPE = Shape(500_000, 16, 128)
#: Distance of each centre from the nearest other, in standard deviations.
SEPARATION = 8.0
TARGET = 6.0
HOW = f"""\
Seconds of a pass, centres {SEPARATION:g} standard deviations apart. "skipping": as a fit runs it once it has settled,
components ruled out by bounds, rows grouped by component. "no bounds": every density is evaluated, and only the
statistics leave out what vanishes. "dense": rows of the same shape whose clusters overlap, so that every component
counts for every row. PASS or MISS: dense over skipping, against {TARGET:g}. DIFFERS: the log-likelihoods of "skipping"
and "no bounds", which see the same rows, differ by more than 1e-12 of them, 1e-7 in float32."""

# Rows are summed in another order, those of float32 in that type within a block.
_ROUNDING = {"float64": 1e-12, "float32": 1e-7}


class _NoBounds(Gaussian):
    """Densities as they are, of every component for every row."""

    def pack(self, params: Any, dtype: Any) -> Packed:
        packed = super().pack(params, dtype)
        if packed.common.size == 0:
            return packed
        # Four numbers of the bounds and the mean in the common coordinates stand at the end of a component's row.
        theta = packed.theta[:, : -(4 + params.means.shape[1])]
        return Packed(np.ascontiguousarray(theta), np.empty((1, 0), dtype))


def measure(settings: Any) -> dict[str, Any]:
    """Seconds of each kind of pass by engine, printed on the way."""
    shape = SHAPE.scaled(settings.scale)
    print(f"\nSkipping: {shape.name} {settings.dtype}\n{HOW}")
    found: dict[str, Any] = {"shape": shape.name, "target": TARGET, "engines": {}}
    far, far_start = make_separate_problem(shape, SEPARATION, settings.dtype)
    soft, soft_start = make_soft_problem(shape, settings.dtype)
    family, dense = Gaussian(), _NoBounds()
    params, soft_params = (
        family.from_precisions(*(a.astype("float64") for a in (start.weights, start.means, start.precisions)))
        for start in (far_start, soft_start)
    )
    for name in settings.engines:
        if name not in available_engines() or name == "numpy":
            continue
        engine = get_engine(name)
        order = engine.group_rows(family, far, params, n_threads=settings.threads)
        likelihoods: dict[str, float] = {}

        def pass_of(kind: str, *what: Any, **options: Any) -> Callable[[], None]:
            def one_pass() -> None:
                stats = engine.accumulate(*what, n_threads=settings.threads, **options)  # noqa: B023
                likelihoods[kind] = stats.log_likelihood  # noqa: B023

            return one_pass

        passes = {
            "skipping": pass_of("skipping", family, far, params, order=order),
            "no bounds": pass_of("no bounds", dense, far, params),
            "dense": pass_of("dense", family, soft, soft_params),
        }
        found["engines"][name] = _measure_engine(name, passes, settings, likelihoods)
    return found


def _measure_engine(
    name: str, passes: dict[str, Callable[[], None]], settings: Any, likelihoods: dict[str, float]
) -> dict[str, Any]:
    for one_pass in passes.values():
        one_pass()
    seconds: dict[str, list[float]] = {kind: [] for kind in passes}
    for _ in range(settings.repeats):
        for kind, one_pass in passes.items():
            seconds[kind].append(seconds_of(one_pass))
    difference = abs(likelihoods["skipping"] / likelihoods["no bounds"] - 1)
    ratios = {
        kind: [slow / quick for slow, quick in zip(seconds[kind], seconds["skipping"], strict=True)]
        for kind in ("no bounds", "dense")
    }
    verdict = "PASS" if Spread.of(ratios["dense"]).median >= TARGET else "MISS"
    if difference > _ROUNDING[settings.dtype]:
        verdict = "DIFFERS"
    for kind, values in seconds.items():
        ratio = f"{Spread.of(ratios[kind]).text()} times as long" if kind in ratios else ""
        print(f"  {name:<8} {kind:<10} {Spread.of(values).text():<28} s  {ratio}")
    print(f"  {name:<8} {verdict}; the log-likelihoods differ by {difference:.1e}", flush=True)
    return {"seconds": seconds, "ratios": ratios, "difference": difference, "verdict": verdict}
