"""Selection by an information criterion: the grid, its record of failures, and its answers on real data."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.base import clone

from fastem import GaussianMixture
from fastem.selection import SelectionTable, has_collapsed, select

SETTINGS = {"n_init": 5, "random_state": 0, "tol": 1e-5, "max_iter": 1000}


def test_old_faithful_has_three_components_of_one_covariance(faithful):
    """The best of mclust's 14 models for 1 to 9 components: EEE, 3, with BIC 2314.316."""
    table = select(faithful, [2, 3], ["full", "tied", "diag"], **SETTINGS)
    assert (table.best.n_components, table.best.covariance_type) == (3, "tied")
    assert table.best.value == pytest.approx(2314.316, abs=0.03)
    assert table.best.log_likelihood == pytest.approx(-1126.316, abs=0.02)
    assert table.best.n_parameters == 11
    by_name = {(r.covariance_type, r.n_components): r for r in table}
    assert by_name["full", 2].value == pytest.approx(2322.1917, abs=1e-3)
    assert by_name["tied", 2].value == pytest.approx(2325.2199, abs=1e-3)
    # mclust stops at -1131.9; a better maximum exists.
    assert by_name["diag", 3].log_likelihood == pytest.approx(-1127.0075, abs=0.01)


def test_iris_has_two_components_among_these_families(iris):
    """mclust's BIC for VVV, 2 is 574.02, and for EEE, 4 it is 591.41."""
    table = select(iris, [2, 4], ["full", "tied"], **SETTINGS)
    assert (table.best.n_components, table.best.covariance_type) == (2, "full")
    assert table.best.value == pytest.approx(574.0178, abs=0.01)
    assert table[-1].value == pytest.approx(591.4097, abs=0.01)


def test_a_record_for_every_model_in_order(rng):
    X, seen = rng.normal(size=(60, 2)), []
    table = select(X, [2, 1], ["diag", "spherical"], random_state=0, on_model=seen.append)
    assert isinstance(table, SelectionTable)
    assert [(r.n_components, r.covariance_type) for r in table] == [
        (2, "diag"), (2, "spherical"), (1, "diag"), (1, "spherical")]  # fmt: skip
    assert seen == list(table)
    assert len(table) == 4
    assert table.best is min(table, key=lambda r: r.value)
    for record in table:
        assert not record.failed
        assert record.message == ""
        assert record.seconds > 0
        assert record.converged is record.model.converged_
        assert record.value == pytest.approx(record.model.bic(X), rel=1e-12)
        assert record.log_likelihood == pytest.approx(60 * record.model.score(X), rel=1e-12)
        n_parameters = {"diag": 5 * record.n_components - 1, "spherical": 4 * record.n_components - 1}
        assert record.n_parameters == n_parameters[record.covariance_type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        table[0].value = 0.0


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_criteria_and_weights(rng, criterion):
    X, weight = rng.normal(size=(80, 2)), rng.integers(0, 4, size=80)
    table = select(X, [1, 2], ["full"], criterion, sample_weight=weight, random_state=1, tol=1e-9, max_iter=2000)
    assert table.criterion == criterion
    repeated = np.repeat(X, weight, axis=0)
    for record in table:
        assert record.value == pytest.approx(getattr(record.model, criterion)(repeated), rel=1e-9)
        assert record.log_likelihood == pytest.approx(record.model.score(repeated) * len(repeated), rel=1e-9)
    assert table[0].log_likelihood == pytest.approx(
        float(GaussianMixture(1).fit(repeated).score_samples(repeated).sum()), rel=1e-9
    )


def test_the_chosen_model_can_be_made_again(faithful):
    best = select(faithful, [3], ["full"], n_init=3, random_state=5, tol=1e-4).best.model
    again = clone(best).fit(faithful)
    assert again.get_params()["n_init"] == 1
    assert np.array_equal(again.means_, best.means_)


def test_more_starts_are_never_worse(faithful):
    few, many = (select(faithful, [4], ["diag"], n_init=n, random_state=3)[0] for n in (1, 6))
    assert many.log_likelihood >= few.log_likelihood
    assert many.seconds > few.seconds


def test_a_model_that_fails_is_a_record(rng):
    X = rng.normal(size=(5, 2))
    table = select(X, [1, 9], ["diag"], random_state=0)
    failed = table[1]
    assert failed.failed
    assert failed.model is None
    assert not failed.converged
    assert math.isnan(failed.value)
    assert math.isnan(failed.log_likelihood)
    assert "n_components = 9" in failed.message
    assert table.best is table[0]
    with pytest.raises(ValueError, match=r"no model could be fitted: .*n_components = 9"):
        _ = select(X, [9], ["diag"]).best


def test_no_warning_but_a_mark_where_a_fit_did_not_converge(faithful):
    table = select(
        faithful, [3], ["full"], max_iter=2, random_state=0, init_params="kmeans"
    )  # warnings are errors here
    assert not table[0].converged
    assert table[0].value == pytest.approx(table[0].model.bic(faithful))
    assert "*?" in str(table)
    assert "? stopped before it converged" in str(table)


def test_a_collapsed_start_is_dropped(faithful):
    """Some starts end on rows of the same waiting time, at a BIC that is the lowest of all and means nothing."""
    settings = {"init_params": "random_from_data", "tol": 1e-4, "max_iter": 1000}
    seeds = np.random.RandomState(4).randint(2**31 - 1, size=6)
    starts = [
        GaussianMixture(6, covariance_type="diag", random_state=int(seed), **settings).fit(faithful) for seed in seeds
    ]
    collapsed = [has_collapsed(start) for start in starts]
    assert 0 < sum(collapsed) < 6
    assert min(start.bic(faithful) for start in starts) < 2300
    sound = max((s for s, c in zip(starts, collapsed, strict=True) if not c), key=lambda s: s.lower_bound_)
    record = select(faithful, [6], ["diag"], n_init=6, random_state=4, **settings)[0]
    assert np.array_equal(record.model.means_, sound.means_)
    assert record.value > 2314.3


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
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
    assert has_collapsed(fitted(point)) is (covariance_type != "tied")


def test_every_start_collapsed(rng):
    X = np.repeat(rng.normal(size=(4, 2)), 10, axis=0)
    record = select(X, [3], ["diag"], n_init=2, random_state=0)[0]
    assert record.failed
    assert "collapsed onto too few distinct rows in every start" in record.message


def test_text(faithful):
    table = select(faithful, [1, 2, 300], ["tied", "spherical"], random_state=0)
    lines = str(table).splitlines()
    assert lines[0] == "BIC, lower is better"
    assert lines[2].split() == ["components", "tied", "spherical"]
    assert lines[3].split() == ["1", "2607.623", "4024.721"]
    assert lines[4].split() == ["2", "2325.220*", "3458.299"]
    assert lines[5].split() == ["300", "-", "-"]
    assert lines[7] == "* best   - not fitted"
    # One line for the two of the same reason, and numbers that stand below each other.
    assert lines[8].startswith("  tied 300, spherical 300: Expected n_samples >= n_components")
    assert len(lines) == 9
    assert lines[3].index("2607.623") == lines[4].index("2325.220")


def test_summary(faithful):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(faithful, columns=["eruptions", "waiting"])
    text = select(frame, [2], ["full"], **SETTINGS).summary()
    lines = [line.split() for line in text.splitlines()]
    assert text.startswith("2 components, covariance full\n")
    facts = dict(line for line in lines if len(line) == 2)
    assert float(facts["log-likelihood"]) == pytest.approx(-1130.26396, abs=2e-4)
    assert float(facts["BIC"]) == pytest.approx(2322.1917, abs=4e-4)
    assert facts["parameters"] == "11"
    means = next(line for line in lines[lines.index(["mean"]) :] if line[0] == "eruptions")
    assert sorted(map(float, means[1:])) == pytest.approx([2.0363885, 4.289662], abs=1e-4)
    assert "covariance of component 1" in text
    text = select(faithful, [8], ["spherical"], random_state=0).summary()
    assert text.count("component ") == 2  # eight columns are too many for one block
    assert "every feature" in text
    assert "x1" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "bits"}, "criterion must be one of"),
        ({"n_components": []}, "numbers of components and covariance types"),
        ({"covariance_types": ["round"]}, "'covariance_type' parameter"),
        ({"tol": -1.0}, "'tol' parameter"),
    ],
)
def test_options_are_checked(faithful, options, message):
    with pytest.raises(ValueError, match=message):
        select(faithful, **{"n_components": [2], **options})


def test_bad_data_are_an_error_and_not_a_record(faithful):
    with pytest.raises(ValueError, match="contains NaN"):
        select(np.where(faithful > 90, np.nan, faithful), [1, 2])
