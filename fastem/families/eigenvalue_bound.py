"""A bound on the ratio of the largest eigenvalue of all covariances to the smallest one.

With such a bound the likelihood of a Gaussian mixture has a maximum (Hathaway 1985; García-Escudero et al. 2008).

References
----------
García-Escudero, Gordaliza, Matrán & Mayo-Iscar (2008), A general trimming approach to robust cluster analysis. Fritz,
García-Escudero & Mayo-Iscar (2013), A fast algorithm for robust constrained clustering. García-Escudero, Gordaliza,
Matrán & Mayo-Iscar (2015), Avoiding spurious local maximizers in mixture modeling.
"""

from __future__ import annotations

import numpy as np

from fastem.families.covariance_storage import Storage


def bounded(storage: Storage, masses: np.ndarray, covariances: np.ndarray, ratio: float) -> np.ndarray:
    """The covariances that maximise the M-step's likelihood under the bound, of those that do without it."""
    if not np.isfinite(covariances).all():  # which is for the storage to say
        return covariances
    if not storage.is_matrix:
        by_component = covariances.reshape(len(covariances), -1)
        return truncated(by_component, masses, ratio).reshape(covariances.shape)
    matrices = covariances.reshape(-1, *covariances.shape[-2:])
    eigenvalues, vectors = np.linalg.eigh(matrices)
    found = truncated(np.maximum(eigenvalues, 0.0), masses if len(masses) == len(matrices) else np.ones(1), ratio)
    changed = (found != eigenvalues).any(axis=1)
    composed = (vectors * found[:, None, :]) @ vectors.swapaxes(1, 2)
    composed = 0.5 * (composed + composed.swapaxes(1, 2))
    return np.where(changed[:, None, None], composed, matrices).reshape(covariances.shape)


def truncated(eigenvalues: np.ndarray, masses: np.ndarray, ratio: float) -> np.ndarray:
    """Eigenvalues (n_components, n_features) cut to ``[m, ratio m]``, with the best ``m``.

    ``m`` minimises ``sum_k masses_k sum_j (log c_kj + e_kj / c_kj)`` over the cut eigenvalues ``c_kj`` (Fritz et al.
    2013, section 3). In ``log m`` each term is convex, for it falls, is flat and rises with no kink: of the intervals
    between the points where a term changes, the one in which the slope changes its sign has the minimum.
    """
    if eigenvalues.max() <= ratio * eigenvalues.min():
        return eigenvalues
    order = np.argsort(eigenvalues, axis=None)
    values = eigenvalues.ravel()[order]
    weights = np.broadcast_to(masses[:, None], eigenvalues.shape).ravel()[order]
    mass_below = np.concatenate([[0.0], np.cumsum(weights)])
    sum_below = np.concatenate([[0.0], np.cumsum(weights * values)])

    def of_cut(least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mass of what is cut, and its sum in units of where it is cut to; the slope is ``mass - sum / least``."""
        low = np.searchsorted(values, least, "left")
        high = np.searchsorted(values, ratio * least, "right")
        mass = mass_below[low] + mass_below[-1] - mass_below[high]
        return mass, sum_below[low] + (sum_below[-1] - sum_below[high]) / ratio

    ends = np.sort(np.concatenate([values, values / ratio]))
    mass, total = of_cut(ends)
    after = int(np.argmax(mass * ends >= total))
    before = ends[max(after - 1, 0)]
    mass, total = of_cut(0.5 * (before + ends[after]))
    least = np.clip(total / mass, before, ends[after])
    return np.clip(eigenvalues, least, ratio * least)
