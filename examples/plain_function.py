"""EM without scikit-learn's conventions: the plain function, and a fit by hand over chunks that never meet.

Run it with ``python examples/plain_function.py``.
"""

from functools import reduce
from operator import add

import numpy as np

import fastem


def main() -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0.0, 1.0, size=(30_000, 2)), rng.normal(4.0, 1.5, size=(10_000, 2))])
    rng.shuffle(X)

    # A family with its settings, a start, and a result of plain values.
    family = fastem.Gaussian("diag")
    result = fastem.fit(X, family, n_components=2, start="random_from_data", random_state=0, tol=1e-6)
    print(f"fit: {result.run.n_iter} iterations, mean log-likelihood {result.run.lower_bound:.6f}")
    print("means:", result.params.means.round(2).tolist())

    # The same by map and reduce. A chunk may be a file or another machine's: parameters go out, and statistics, whose
    # size does not depend on the number of rows, come back.
    engine = fastem.get_engine(result.engine)
    chunks = np.array_split(X, 8)
    params = fastem.fit(X, family, n_components=2, start="random_from_data", random_state=0, max_iter=0).params
    for _ in range(result.run.n_iter):
        stats = reduce(add, [engine.accumulate(family, chunk, params) for chunk in chunks])
        params = family.update(stats)
    print(f"by hand: mean log-likelihood {stats.log_likelihood / stats.weight:.6f}")
    print("the same means:", np.allclose(params.means, result.params.means, rtol=0, atol=1e-12))


if __name__ == "__main__":
    main()
