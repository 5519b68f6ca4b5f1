"""Regularisation by feature, and relative to the data."""

from __future__ import annotations

import numpy as np
import pytest
from families import gaussian_rows
from reference import assert_close, has_collapsed
from sklearn.base import clone

import fastem
from fastem import DegenerateComponentError, Gaussian, GaussianMixture
from fastem.families.covariance_structures import COVARIANCE_TYPES, structure_of
from fastem.persistence import load_mixture, save_mixture
from fastem.stats import Stats, moments_of

# Structures that a change of the features' units leads to themselves.
EQUIVARIANT = ("full", "tied", "diag", "VEI", "EVI", "VEE")
UNITS = np.array([1e-5, 1.0, 1e4])


@pytest.mark.parametrize("covariance_type", EQUIVARIANT)
@pytest.mark.parametrize("accelerate", [None, "squarem"])
def test_units_of_the_features_do_not_matter(covariance_type, accelerate, rng):
    X, weight = gaussian_rows(rng, 300, 3), rng.uniform(0.5, 2.0, size=300)
    options = {"reg_covar": "auto", "init_params": "random", "random_state": 0, "tol": 1e-4, "accelerate": accelerate}
    one, other = (
        GaussianMixture(3, covariance_type=covariance_type, **options).fit(rows, sample_weight=weight)
        for rows in (X, X * UNITS)
    )
    assert one.n_iter_ == other.n_iter_
    assert_close(other.reg_covar_ / UNITS**2, one.reg_covar_, 1e-12)
    assert_close(other.means_ / UNITS, one.means_, 1e-7)
    scale = UNITS**2 if covariance_type in ("diag", "VEI", "EVI") else np.outer(UNITS, UNITS)
    assert_close(other.covariances_ / scale, one.covariances_, 1e-7)
    np.testing.assert_array_equal(one.predict(X), other.predict(X * UNITS))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_a_millionth_of_the_variance(dtype, engine, rng):
    X = (rng.normal(size=(200, 3)) * [1.0, 10.0, 0.1] + 1e3).astype(dtype)
    weight = rng.uniform(0.5, 2.0, size=200)
    for given in (None, weight):
        model = GaussianMixture(1, reg_covar="auto", engine=engine, tol=1e9).fit(X, sample_weight=given)
        assert_close(model.reg_covar_, 1e-6 * np.diag(np.cov(X.T.astype(float), aweights=given, bias=True)), 1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_a_number_for_each_feature_is_added_to_its_variance(covariance_type, rng):
    X, ridge = gaussian_rows(rng, 60, 3), np.array([0.1, 0.2, 0.6])
    responsibilities = rng.dirichlet(np.ones(2), size=60)
    family = Gaussian(covariance_type, reg_covar=ridge)
    centre = np.zeros((1, 3))
    shared = Stats(60, 0.0, centre, moments_of(X, np.ones((60, 1)), centre, "full"), "full")
    S = moments_of(X, responsibilities, np.zeros((2, 3)), family.moments)
    found = family.update(Stats(60, 0.0, np.zeros((2, 3)), S, family.moments, shared)).covariances
    own = np.array([np.cov(X.T, aweights=r, bias=True) for r in responsibilities.T])
    variances = own.diagonal(axis1=1, axis2=2) + ridge
    expected = {
        "full": own + np.diag(ridge),
        "tied": np.average(own, axis=0, weights=responsibilities.sum(axis=0)) + np.diag(ridge),
        "diag": variances,
        "spherical": variances.mean(axis=1),
    }
    assert_close(found, expected[covariance_type], 1e-12)


def test_it_is_the_default_everywhere(faithful):
    by_default = [
        fastem.Gaussian(), GaussianMixture(), fastem.GaussianMixtureSearch(), fastem.fit(faithful, max_iter=0).family
    ]  # fmt: skip
    assert [family.reg_covar == "auto" for family in by_default] == [True, True, True, False]
    expected = 1e-6 * faithful.var(axis=0)
    assert_close(by_default[-1].reg_covar, expected, 1e-12)
    found = fastem.search(faithful, [1], ["diag"], n_init=1, random_state=0).best.model
    assert_close(found.reg_covar_, expected, 1e-12)
    assert fastem.bootstrap_lrt(faithful, 1, n_bootstrap=1, n_init=1, random_state=0)[0].statistic > 0


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical", "EVI"])
def test_rows_in_pieces_are_measured_so_far(covariance_type, rng):
    X = gaussian_rows(rng, 600, 3) * UNITS
    expected = 1e-6 * X.var(axis=0)
    options = {"n_components": 2, "random_state": 0}
    family = Gaussian(covariance_type)
    result = fastem.fit_online(X, family, method="incremental", n_passes=2, batch_size=100, **options)
    assert_close(result.family.reg_covar / expected, np.ones(3), 1e-9)
    one_pass = fastem.fit_online(X, family, batch_size=100, **options).family.reg_covar
    assert_close(one_pass / expected, np.ones(3), 0.5)
    model = GaussianMixture(covariance_type=covariance_type, **options)
    for rows in np.array_split(X, 6):
        model.partial_fit(rows)
    assert_close(model.reg_covar_ / expected, np.ones(3), 0.5)
    # The M-step of statistics alone is that with numbers.
    stats = fastem.get_engine("numpy").accumulate(family, X, result.params)
    if family.shared_moments is None:
        relative, absolute = (f.update(stats) for f in (family, Gaussian(covariance_type, expected)))
        assert_close(relative.covariances / absolute.covariances, np.ones_like(relative.covariances), 1e-9)


def test_statistics_alone_are_held_up_too(rng):
    X = np.repeat(rng.normal(size=(20, 1)), 2, axis=1) * [1.0, 1e9]
    family, responsibilities = Gaussian(), np.eye(2)[np.arange(20) % 2]
    S = moments_of(X, responsibilities, np.zeros((2, 2)), "full")
    stats = Stats(20.0, 0.0, np.zeros((2, 2)), S, "full")
    found = family.held_up(stats)
    expected = Gaussian(reg_covar=1e-6 * X.var(axis=0)).update(stats)
    assert_close(found.covariances / expected.covariances, np.ones((2, 2, 2)), 1e-6)


# Structures that a rotation leads to themselves.
ROTATABLE = ("full", "tied", "spherical", "EII", "VEE", "EEV", "VEV", "EVV", "EVE", "VVE")


@pytest.mark.parametrize("covariance_type", sorted({*EQUIVARIANT, *ROTATABLE}))
def test_by_default_the_frame_of_the_data_does_not_matter(covariance_type, rng):
    """Units from 1e-6 to 1e6, a rotation, and an offset of 1e8 deviations: the partition and the likelihood stay."""
    centres = np.array([[0, 0, 0], [9, 0, 4], [0, 9, 9]])
    X = np.concatenate([rng.normal(size=(150, 3)) @ rng.normal(size=(3, 3)) + centre for centre in centres])
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    frames = [(X + 1e8 * X.std(axis=0), 0.0, 1e-5)]
    frames += [(X * s, 3 * np.log(s), 1e-9) for s in (1e-6, 1e6)]
    if covariance_type in EQUIVARIANT:
        units = np.array([1e-6, 1.0, 1e6])
        frames += [(X * units, np.log(units).sum(), 1e-8), (X * units[::-1] * 1e3, np.log(1e9), 1e-8)]
    if covariance_type in ROTATABLE:
        # What is added to the variances follows the axes.
        frames += [(X @ turn, 0.0, 1e-5)]
    one = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    for rows, jacobian, tolerance in frames:
        other = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(rows)
        assert other.score(rows) + jacobian == pytest.approx(one.score(X), abs=tolerance)
        # Components may come in another order.
        assert len(set(zip(other.predict(rows), one.predict(X), strict=True))) == 3


def test_small_units_are_not_drowned(rng):
    X = np.concatenate([rng.normal(0, 1, size=(100, 2)), rng.normal(8, 1, size=(100, 2))]) * 1e-5
    labels = np.repeat([0, 1], 100)
    absolute, relative = (GaussianMixture(2, reg_covar=r, random_state=0, n_init=2).fit(X) for r in (1e-6, "auto"))
    assert np.linalg.det(absolute.covariances_).min() > 1e3 * np.linalg.det(relative.covariances_).max()
    assert abs(np.corrcoef(relative.predict(X), labels)[0, 1]) > 0.99


def test_families_of_arrays_are_values(tmp_path, rng):
    one, other = (Gaussian("diag", reg_covar=make([0.5, 0.25])) for make in (np.array, list))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Gaussian("diag")
    result = fastem.fit(rng.normal(size=(40, 2)), Gaussian("diag", reg_covar="auto"), 2, random_state=0, tol=1e-2)
    assert isinstance(result.family.reg_covar, tuple)
    for path in (tmp_path / "model.json", tmp_path / "model.npz"):
        save_mixture(path, result)
        assert load_mixture(path)[0].family == result.family
        model = GaussianMixture.load(path)
        assert tuple(model.reg_covar) == result.family.reg_covar
        clone(model).fit(rng.normal(size=(40, 2)))


def test_the_estimator_keeps_what_was_said(tmp_path, rng):
    X = rng.normal(size=(100, 2))
    model = GaussianMixture(2, reg_covar="auto", random_state=0, tol=1e-2).fit(X)
    assert clone(model).reg_covar == "auto"
    model.save(tmp_path / "model.json")
    assert GaussianMixture.load(tmp_path / "model.json").reg_covar == "auto"
    assert model.to_sklearn().reg_covar == model.reg_covar_.min()
    assert not has_collapsed(model)
    np.testing.assert_array_equal(GaussianMixture(2, reg_covar=0.5, tol=1e9).fit(X).reg_covar_, [0.5, 0.5])


@pytest.mark.filterwarnings("ignore::fastem.DegenerateComponentWarning")
@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_collapse_is_seen(covariance_type, rng):
    X = np.concatenate([rng.normal(size=(200, 2)) * [1e-4, 1e4], np.full((50, 2), 30.0) * [1e-4, 1e4]])
    model = GaussianMixture(2, covariance_type=covariance_type, reg_covar="auto", random_state=0).fit(X)
    assert has_collapsed(model)
    assert not has_collapsed(GaussianMixture(1, covariance_type=covariance_type, reg_covar="auto").fit(X))


@pytest.mark.filterwarnings("ignore::fastem.DegenerateComponentWarning")
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_what_counts_as_collapsed(rng, covariance_type):
    def fitted(X):
        return GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)

    X = np.concatenate([rng.normal(size=(200, 2)), rng.normal(8, 1, size=(200, 2))])
    assert not has_collapsed(fitted(X))
    # A component may be thin: only rows that agree to the last digit leave reg_covar alone.
    thin = X * [1, 1e-3]
    thin[:200, 1] += 1
    assert not has_collapsed(fitted(thin))
    # Small units or collinear features are the data's, not a component's.
    assert not has_collapsed(fitted(X * 1e-4))
    assert not has_collapsed(fitted(np.column_stack([X, X[:, 0]])))
    point = np.concatenate([rng.normal(size=(200, 2)), np.full((50, 2), 30.0)])
    # A volume in common keeps one component from collapsing alone.
    assert has_collapsed(fitted(point)) is (structure_of(covariance_type).name[0] == "V")


def test_errors(rng):
    X = rng.normal(size=(30, 2))
    with pytest.raises(ValueError, match=r"one for each of the 2 features, but got 3"):
        GaussianMixture(reg_covar=[1.0, 1.0, 1.0]).fit(X)
    for bad in (-1.0, [0.1, -0.1], [], [np.nan, 1.0], "much"):
        with pytest.raises(ValueError, match="reg_covar must be"):
            Gaussian(reg_covar=bad)
    with pytest.raises(ValueError, match="'reg_covar' parameter"):
        GaussianMixture(reg_covar="much").fit(X)
    family = Gaussian("diag", reg_covar="auto")
    params = family.make_params(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"'auto' is relative.*scaled_to\(measure, n_components\)"):
        family.collapsed_components(params)
    # A constant feature has no scale of its own, whatever is left of it by rounding.
    for constant in (3.0, 0.1, -1e9 / 3):
        X[:, 1] = constant
        assert GaussianMixture(1).fit(X).reg_covar_[1] == 1e-6


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_variances_below_it_are_refused(covariance_type):
    family = Gaussian(covariance_type, reg_covar=[0.2, 0.6])
    like, thin = (
        family.make_params(np.ones(1), np.zeros((1, 2)), np.full(family.covariance_shape(1, 2), v)) for v in (1.0, 0.39)
    )
    with pytest.raises(DegenerateComponentError, match="reg_covar"):
        family.from_vector(family.to_vector(thin, like), like)
