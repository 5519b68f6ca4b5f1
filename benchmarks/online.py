"""One online pass against batch EM: how near its likelihood comes, and how long it takes.

    python benchmarks/online.py [--rows 10000000] [--dtype float32] [--threads 2] [--method averaged]

The batch fit starts from the same starting method and runs to convergence on all rows. An online pass must end within
0.5 percent of its log-likelihood, in at most 1.5 times the time of one of its passes (E-step and M-step), the search of
the start included. Times are medians of rounds in which both have a turn.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

_WITHIN = 0.005
_TIMES = 1.5


def main() -> None:
    settings = _arguments()
    from comparison import machine

    machine.set_threads(settings.threads)
    _measure(settings)


def _arguments() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--components", type=int, default=8)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--method", choices=("stepwise", "averaged"), default="stepwise")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--passes", type=int, default=100, help="most passes of the batch fit")
    parser.add_argument("--tol", type=float, default=1e-4, help="of the batch fit")
    return parser.parse_args()


def _measure(settings: argparse.Namespace) -> None:
    # Only now: these read the number of threads when they are imported.
    from problems import Shape, make_rows

    import fastem

    shape = Shape(settings.rows, settings.features, settings.components)
    X = make_rows(shape, settings.dtype)
    family = fastem.Gaussian()
    options: dict[str, Any] = {"random_state": 0, "n_threads": settings.threads}
    batch = fastem.fit(
        X, family, settings.components, tol=settings.tol, max_iter=settings.passes, accelerate="auto", **options
    )
    engine = fastem.get_engine(batch.engine)

    def one_pass(params: Any = batch.params) -> float:
        stats = engine.accumulate(family, X, params, n_threads=settings.threads)
        family.update(stats)
        return stats.log_likelihood / stats.weight

    def online(interleave: bool) -> Any:
        return fastem.fit_online(
            X,
            family,
            settings.components,
            method=settings.method,
            batch_size=settings.batch_size,
            interleave=interleave,
            **options,
        )

    best = one_pass()
    print(f"{shape.name} {settings.dtype}, {settings.threads} threads, engine {batch.engine}, {settings.method}")
    print(f"batch: {best:.6f} after {batch.run.n_iter} passes, converged: {batch.run.converged}")
    rounds = [
        {
            "pass": _seconds(one_pass),
            "interleaved": _seconds(lambda: online(True)),
            "in order": _seconds(lambda: online(False)),
        }
        for _ in range(settings.repeats)
    ]
    print(f"one batch pass: {median(r['pass'] for r in rounds):.3f} s")
    for name in ("interleaved", "in order"):
        reached = one_pass(online(name == "interleaved").params)
        share = abs(reached - best) / abs(best)
        times = median(r[name] / r["pass"] for r in rounds)
        print(
            f"{name}: {reached:.6f}, {share:.3%} from batch: {_verdict(share <= _WITHIN)} ({_WITHIN:.1%}); "
            f"{median(r[name] for r in rounds):.3f} s, {times:.2f} passes: {_verdict(times <= _TIMES)} ({_TIMES})"
        )


def _seconds(call: Callable[[], Any]) -> float:
    time.sleep(0.1)  # threads of the call before go to sleep
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _verdict(reached: bool) -> str:
    return "PASS" if reached else "MISS"


if __name__ == "__main__":
    main()
