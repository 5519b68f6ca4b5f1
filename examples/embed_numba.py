"""A kernel of fastem inside your own Numba code: the likelihood of a hidden Markov model with Gaussian emissions.

The block kernel writes log-densities of a block of rows; the recursion over time is the caller's.

Run it with ``python examples/embed_numba.py``.
"""

import numpy as np
from numba import njit
from scipy.special import logsumexp

import fastem
from fastem.engines.numba_drivers import block_kernel
from fastem.families import scratch_shape

BLOCK = 128  # columns of a block: a multiple of 32 serves every processor and float type

family = fastem.Gaussian("full")
log_density = block_kernel(family.log_density_kernel, "log_density", np.dtype(np.float64))


@njit(nogil=True)
def hmm_log_likelihood(X, log_start, transition, theta, common, scratch):
    """``log p(x_1 ... x_T)`` by the forward recursion, a block of emission densities at a time."""
    n_samples, n_features = X.shape
    n_states = theta.shape[0]
    XT = np.zeros((n_features, BLOCK))  # rows of the data are columns here; what lies beyond n_rows is ignored
    log_p = np.empty((n_states, BLOCK))
    before = np.exp(log_start)
    after = np.empty(n_states)
    total = 0.0
    for first in range(0, n_samples, BLOCK):
        n_rows = min(BLOCK, n_samples - first)
        for b in range(n_rows):
            for i in range(n_features):
                XT[i, b] = X[first + b, i]
        log_density(XT, n_rows, theta, common, scratch, log_p)
        for b in range(n_rows):
            if first + b > 0:
                for k in range(n_states):
                    after[k] = 0.0
                    for j in range(n_states):
                        after[k] += before[j] * transition[j, k]
                before, after = after, before
            top = log_p[:, b].max()
            norm = 0.0
            for k in range(n_states):
                before[k] *= np.exp(log_p[k, b] - top)
                norm += before[k]
            before /= norm
            total += top + np.log(norm)
    return total


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3)).cumsum(axis=0) / 10
    means = X[[100, 500, 900]]
    # Weights of 1, so that the kernel's log w + log p is the emission's log-density alone.
    params = family.make_params(np.ones(3), means, np.stack([np.eye(3)] * 3))
    packed = family.pack(params, np.dtype(np.float64))
    transition = np.full((3, 3), 0.05) + 0.85 * np.eye(3)
    log_start = np.log(np.full(3, 1 / 3))

    scratch = np.empty(scratch_shape(X.shape[1], BLOCK))
    found = hmm_log_likelihood(X, log_start, transition, packed.theta, packed.common, scratch)

    # The same in NumPy, from the family's formula.
    alpha = log_start + family.log_density(X[:1], params)[0]
    for emission in family.log_density(X[1:], params):
        alpha = logsumexp(alpha[:, None] + np.log(transition), axis=0) + emission
    expected = logsumexp(alpha)
    print(f"log-likelihood {found:.6f}, by NumPy {expected:.6f}")
    assert abs(found - expected) < 1e-8 * abs(expected)


if __name__ == "__main__":
    main()
