"""The search over models: its answers on real data, its record of failures, threads, interruption, and its table."""

import dataclasses
import math
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastem import Gaussian, GaussianMixture, GaussianMixtureSearch, search
from fastem.selection import SearchTable
from fastem.selection.spurious import fault_of
from fastem.selection.sweeps import Sweeps

DATA = Path(__file__).parent / "data"

SETTINGS = {"n_init": 5, "random_state": 0, "tol": 1e-5, "max_iter": 1000}


def is_spurious(model, n_samples=10**9):
    family = Gaussian(model.covariance_type, model.reg_covar_)
    return bool(fault_of(family, model._fitted_params(), n_samples))


def test_old_faithful_has_three_components_of_one_covariance(faithful):
    """The best of mclust's 14 models for 1 to 9 components: EEE, 3, with BIC 2314.316."""
    table = search(faithful, [2, 3], ["full", "tied", "diag"], **SETTINGS)
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
    table = search(iris, [2, 4], ["full", "tied"], **SETTINGS)
    assert (table.best.n_components, table.best.covariance_type) == (2, "full")
    assert table.best.value == pytest.approx(574.0178, abs=0.01)
    assert table[-1].value == pytest.approx(591.4097, abs=0.01)


def test_a_record_for_every_model_in_order(rng):
    X = rng.normal(size=(60, 2))
    table = search(X, [2, 1], ["diag", "spherical"], random_state=0)
    assert isinstance(table, SearchTable)
    assert [(r.n_components, r.covariance_type) for r in table] == [
        (2, "diag"), (2, "spherical"), (1, "diag"), (1, "spherical")]  # fmt: skip
    assert len(table) == 4
    assert table.best is min(table, key=lambda r: r.value)
    for record in table:
        assert not record.failed
        assert record.message == ""
        assert record.seconds > 0
        assert record.converged is record.model.converged_
        for criterion in ("bic", "aic", "icl"):
            assert getattr(record, criterion) == pytest.approx(getattr(record.model, criterion)(X), rel=1e-12)
        assert record.value == record.bic
        assert math.isnan(record.cv)
        assert record.log_likelihood == pytest.approx(60 * record.model.score(X), rel=1e-12)
        n_parameters = {"diag": 5 * record.n_components - 1, "spherical": 4 * record.n_components - 1}
        assert record.n_parameters == n_parameters[record.covariance_type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        table[0].value = 0.0


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_criteria_and_weights(rng, criterion):
    X, weight = rng.normal(size=(80, 2)), rng.integers(0, 4, size=80)
    table = search(X, [1, 2], ["full"], criterion, sample_weight=weight, random_state=1, tol=1e-9, max_iter=2000)
    assert table.criterion == criterion
    repeated = np.repeat(X, weight, axis=0)
    for record in table:
        assert record.value == pytest.approx(getattr(record.model, criterion)(repeated), rel=1e-9)
        assert record.log_likelihood == pytest.approx(record.model.score(repeated) * len(repeated), rel=1e-9)
    assert table[0].log_likelihood == pytest.approx(
        float(GaussianMixture(1).fit(repeated).score_samples(repeated).sum()), rel=1e-9
    )


def test_the_chosen_model_can_be_made_again(faithful):
    for numbers in ([3], [2, 3]):  # from a start of its own, and from a neighbour
        best = search(faithful, numbers, ["full"], n_init=3, random_state=5, tol=1e-7)[-1].model
        again = clone(best).fit(faithful)
        assert again.get_params()["n_init"] == 1
        np.testing.assert_allclose(again.means_, best.means_, rtol=1e-9)


def test_more_starts_are_never_worse(faithful):
    few, many = (search(faithful, [4], ["diag"], n_init=n, random_state=3)[0] for n in (1, 6))
    assert many.log_likelihood >= few.log_likelihood
    assert many.seconds > few.seconds


def test_a_model_that_fails_is_a_record(rng):
    X = rng.normal(size=(5, 2))
    table = search(X, [1, 9], ["diag"], random_state=0)
    failed = table[1]
    assert failed.failed
    assert failed.model is None
    assert not failed.converged
    assert math.isnan(failed.value)
    assert math.isnan(failed.log_likelihood)
    assert "n_components = 9" in failed.message
    assert table.best is table[0]
    assert (failed.n_starts, failed.starts_agreeing) == (1, 0)
    with pytest.raises(ValueError, match=r"no model could be fitted: .*n_components = 9"):
        _ = search(X, [9], ["diag"]).best


def test_no_warning_but_a_mark_where_a_fit_did_not_converge(faithful):
    table = search(faithful, [3], ["full"], max_iter=2, random_state=0)  # warnings are errors here
    assert not table[0].converged
    assert table[0].value == pytest.approx(table[0].model.bic(faithful))
    assert "*?" in str(table)
    assert "? stopped before it converged" in str(table)


@pytest.mark.filterwarnings("ignore::fastem.DegenerateComponentWarning")
def test_a_collapsed_start_is_dropped(faithful):
    """Some starts end on rows of the same waiting time, at a BIC that is the lowest of all and means nothing."""
    settings = {"init_params": "random_from_data", "tol": 1e-4, "max_iter": 1000, "reg_covar": 1e-6}
    seeds = np.random.RandomState(4).randint(2**31 - 1, size=6)
    starts = [
        GaussianMixture(6, covariance_type="diag", random_state=int(seed), **settings).fit(faithful) for seed in seeds
    ]
    collapsed = [is_spurious(start) for start in starts]
    assert 0 < sum(collapsed) < 6
    assert min(start.bic(faithful) for start in starts) < 2300
    sound = max((s for s, c in zip(starts, collapsed, strict=True) if not c), key=lambda s: s.lower_bound_)
    record = search(faithful, [6], ["diag"], n_init=6, random_state=4, **settings)[0]
    assert not record.spurious
    assert record.log_likelihood >= sound.score(faithful) * len(faithful) - 0.1
    assert record.value > 2314.3


def test_every_start_collapsed(rng):
    X = np.repeat(rng.normal(size=(4, 2)), 10, axis=0)
    table = search(X, [3], ["diag"], n_init=2, random_state=0)
    assert table[0].spurious
    assert "collapsed onto too few distinct rows in every start" in table[0].message
    assert "!" in str(table)
    assert "! spurious" in str(table)
    with pytest.raises(ValueError, match="no model could be fitted: a component collapsed"):
        _ = table.best


def test_a_component_on_two_close_rows_is_spurious_and_not_chosen(rng):
    """The likelihood has a maximum there, higher than that of the two components which are found in its place."""
    X = np.concatenate([rng.normal(size=(80, 2)), [[0.3, 0.2], [0.3001, 0.2001]]])
    start = {
        "weights_init": [80 / 82, 2 / 82],
        "means_init": [[0, 0], [0.30005, 0.20005]],
        "precisions_init": [[1, 1], [1e8, 1e8]],
    }
    settings = {"covariance_type": "diag", "tol": 1e-9, "max_iter": 1000, "reg_covar": 1e-12}
    trapped = GaussianMixture(2, **start, **settings).fit(X)
    assert min(trapped.weights_) * 82 == pytest.approx(2, abs=0.1)
    assert is_spurious(trapped, 82)
    assert not is_spurious(trapped, 820)  # were the same share twenty rows, it would be a cluster
    found = search(X, [1, 2], ["diag"], random_state=0, tol=1e-9, reg_covar=1e-12)
    assert not found[1].spurious
    assert found[1].log_likelihood < 82 * trapped.score(X)


def test_text(faithful):
    table = search(faithful, [1, 2, 300], ["tied", "spherical"], random_state=0)
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
    text = search(frame, [2], ["full"], **SETTINGS).summary()
    lines = [line.split() for line in text.splitlines()]
    assert text.startswith("2 components, covariance full\n")
    facts = dict(line for line in lines if len(line) == 2)
    assert float(facts["log-likelihood"]) == pytest.approx(-1130.26396, abs=2e-4)
    assert float(facts["BIC"]) == pytest.approx(2322.1917, abs=4e-4)
    assert facts["parameters"] == "11"
    means = next(line for line in lines[lines.index(["mean"]) :] if line[0] == "eruptions")
    assert sorted(map(float, means[1:])) == pytest.approx([2.0363885, 4.289662], abs=1e-4)
    assert "covariance of component 1" in text
    text = search(faithful, [8], ["spherical"], random_state=0).summary()
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
        search(faithful, **{"n_components": [2], **options})


def test_bad_data_are_an_error_and_not_a_record(faithful):
    with pytest.raises(ValueError, match="contains NaN"):
        search(np.where(faithful > 90, np.nan, faithful), [1, 2])


# Neighbours.


def test_neighbours_find_what_starts_do_not(faithful):
    alone, helped = (search(faithful, range(1, 7), ["diag"], random_state=0, warm_starts=w) for w in (False, True))
    gains = [b.log_likelihood - a.log_likelihood for a, b in zip(alone, helped, strict=True)]
    assert gains[2] > 2
    assert min(gains[:4]) > -0.01
    # A tree's partition, and one by init_params; of neighbours none goes on that has ended where these did.
    assert [record.n_starts for record in alone][:3] == [1, 2, 2]
    assert [record.n_starts for record in helped][:2] == [1, 2]


def test_a_component_more_is_never_worse(iris):
    table = search(iris, range(1, 8), ["tied", "diag"], n_init=1, random_state=0)
    for kind in ("tied", "diag"):
        reached = [record.log_likelihood for record in table if record.covariance_type == kind]
        assert np.all(np.diff(reached) > 0), kind


def test_a_component_less_starts_from_two_that_are_merged(rng, monkeypatch):
    """One bad start a model; going down from a good solution finds the three groups."""
    monkeypatch.setattr(Sweeps, "_partitions", lambda self, models: [])
    X = np.concatenate([rng.normal(centre, 1, size=(40, 2)) for centre in ((0, 0), (9, 0), (0, 9), (9, 9))])
    bad = {"n_init": 1, "init_params": "random", "random_state": 1}
    up = search(X, [3], ["spherical"], **bad)[0]
    table = search(X, [3, 4], ["spherical"], **bad)
    assert table[0].log_likelihood > up.log_likelihood + 5
    assert table[0].n_starts == 2  # its own, and the merged one; there is no smaller neighbour


def test_a_solution_that_a_heat_ends_at_is_not_run_again(rng, monkeypatch):
    """Of two groups every start finds the same; going down nothing is left to run where several were tried."""
    X = np.concatenate([rng.normal(centre, 1, size=(60, 2)) for centre in (0, 9)])
    given = X, [1, 2], ["full", "VEV", "VVE"]
    found = search(*given, random_state=0)
    monkeypatch.setattr(Sweeps, "_is_known", lambda self, model, run: False)
    every = search(*given, random_state=0)
    assert (found[3].n_starts, every[3].n_starts) == (2, 3)
    assert found[3].log_likelihood == pytest.approx(every[3].log_likelihood, abs=1e-3)


def test_a_start_in_reserve_runs_where_the_one_before_ended_spurious(faithful, monkeypatch):
    given = faithful, range(3, 6), ["full"]
    some = search(*given, random_state=0)
    monkeypatch.setattr("fastem.selection.sweeps._RESERVES", 0)
    none = search(*given, random_state=0)
    assert not some[1].spurious
    assert some[1].n_starts > none[1].n_starts
    assert some[1].log_likelihood >= none[1].log_likelihood


def parallel_clusters(seed):
    """Two elongated clusters side by side: four apart across their deviation of a half, and ten along."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1000, 2)) * [10, 0.5] + np.repeat([[0, 0], [0, 4]], 500, axis=0)


def test_two_parallel_elongated_clusters():
    chosen = [search(parallel_clusters(s), range(1, 5), "full", random_state=s).best.n_components for s in range(20)]
    assert chosen == [2] * 20


@pytest.mark.slow
def test_two_parallel_elongated_clusters_in_any_structure():
    """They are of one covariance, along the features."""
    for seed in range(10):
        best = search(parallel_clusters(seed), range(1, 5), random_state=seed).best
        assert (best.n_components, best.model._family().structure.name[2]) == (2, "I"), seed


# Published tables.

# The best of mclust's 14 structures and 1 to 9 components.
PUBLISHED = {"iris": (2, "VEV", 561.7285), "faithful": (3, "tied", 2314.316), "acidity": (2, "tied", 392.0723)}


@pytest.mark.slow
@pytest.mark.parametrize("data", PUBLISHED)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_published_best_of_all(data, seed, request):
    n_components, covariance_type, bic = PUBLISHED[data]
    best = search(request.getfixturevalue(data), random_state=seed).best
    assert (best.n_components, best.covariance_type) == (n_components, covariance_type)
    assert best.bic == pytest.approx(bic, abs=0.03)


def behind_mclust(table, data):
    """Models whose BIC is more than 0.5 above mclust's; not those of which either found a spurious solution."""
    with (DATA / "mclust_bic.csv").open() as file:
        rows = [line.strip().split(",") for line in file if line.startswith(data + ",")]
    theirs = {(int(k), structure): float(bic) for _, k, structure, bic, spurious in rows if spurious == "0"}
    behind = {}
    for record in table:
        key = (record.n_components, record.model._family().structure.name)
        if not record.spurious and record.bic > theirs.get(key, np.inf) + 0.5:
            behind[key] = (record.bic, theirs[key])
    return behind


# Structures whose M-step has a closed form; and where the better optima that are found seem spurious, and mclust's not.
CLOSED = ["EII", "spherical", "EEI", "EVI", "diag", "tied", "EEV", "EVV", "full"]
BEHIND = {"iris": {(9, "VII")}, "faithful": {(5, "VVV")}}


@pytest.mark.parametrize("data", BEHIND)
def test_as_good_as_mclust(data, request):
    table = search(request.getfixturevalue(data), range(1, 5), CLOSED, random_state=0)
    assert behind_mclust(table, data) == {}


@pytest.mark.slow
@pytest.mark.parametrize("data", BEHIND)
def test_as_good_as_mclust_up_to_nine_components(data, request):
    table = search(request.getfixturevalue(data), range(1, 10), CLOSED, random_state=0)
    assert set(behind_mclust(table, data)) <= BEHIND[data]


# Threads and interruption.


def comparable(table):
    return [{k: v for k, v in vars(r).items() if k not in ("seconds", "model")} for r in table]


@pytest.mark.parametrize("criterion", ["bic", "cv"])
def test_the_same_for_any_number_of_threads(faithful, criterion):
    options = {"criterion": criterion, "random_state": 3, "n_init": 2, "n_folds": 3}
    one, three = (search(faithful, range(1, 5), **options, n_threads=n) for n in (1, 3))
    np.testing.assert_equal(comparable(one), comparable(three))
    for a, b in zip(one, three, strict=True):
        assert np.array_equal(a.model.covariances_, b.model.covariances_)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_interruption(faithful, n_threads):
    def press(iteration):
        if len(iteration.weights) == 3 and iteration.iteration == 2:
            signal.raise_signal(signal.SIGINT)

    options = {"random_state": 0, "callbacks": press, "n_threads": n_threads}
    with pytest.raises(KeyboardInterrupt):
        search(faithful, range(1, 6), ["tied", "diag"], **options)
    kept = search(faithful, range(1, 6), ["tied", "diag"], on_interrupt="keep", **options)
    assert kept.interrupted
    assert len(kept) == 10
    whole = search(faithful, [1, 2], ["tied", "diag"], random_state=0)
    for record, same in zip(kept[:4], whole, strict=True):
        # Without the sweep back, so the likelihood may be lower.
        assert record.bic == pytest.approx(same.bic, abs=1e-3)
    assert all(record.failed and "interrupted" in record.message for record in kept[6:])
    assert kept.best.n_components in (2, 3)
    assert "interrupted before it was fitted" in str(kept)


def test_progress_goes_to_stderr(faithful, capsys, monkeypatch):
    monkeypatch.setattr("fastem.progress._PLAIN_SECONDS", 0.0)
    search(faithful, [1, 2, 3], ["diag", "tied"], n_init=2, random_state=0, verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    counts = [int(n) for n in re.findall(r"^fastem: (\d)/6 models after ", err, re.MULTILINE)]
    assert counts == sorted(counts)
    assert counts[-1] == 6


def test_many_rows_race_on_a_sample(rng):
    X = np.concatenate([rng.normal(centre, 1, size=(15_000, 2)) for centre in (0, 5, 10)])
    table = search(X, [2, 3], ["spherical"], n_init=6, random_state=0, max_iter=50)
    assert table.best.n_components == 3
    assert table.best.n_starts <= 6  # the tree's, and the best of six and two splits; one of those that agree
    assert np.sort(table.best.model.means_[:, 0]) == pytest.approx([0, 5, 10], abs=0.05)


# The table.


def test_frame(faithful):
    pandas = pytest.importorskip("pandas")
    table = search(faithful, [1, 2, 300], ["tied", "diag"], "aic", random_state=0)
    frame = table.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 6
    named = {"n_components", "covariance_type", "bic", "aic", "icl", "nec", "cv", "log_likelihood", "n_parameters",
             "converged", "spurious", "n_starts", "starts_agreeing", "seconds", "message"}  # fmt: skip
    assert set(frame.columns) == named
    assert frame.loc[2, "aic"] == table[2].value
    assert frame.dtypes["bic"] == np.float64
    assert frame.dtypes["starts_agreeing"] == np.int64
    assert frame["bic"].isna().tolist() == [False] * 4 + [True] * 2
    assert frame["starts_agreeing"].tolist()[:2] == [1, 1]


def test_frame_without_pandas(faithful, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_frame needs pandas: pip install pandas"):
        search(faithful, [1], ["diag"]).to_frame()


def test_plot(faithful):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    table = search(faithful, [1, 2, 3], ["tied", "diag"], random_state=0)
    ax = table.plot()
    assert ax.get_ylabel() == "BIC (lower is better)"
    assert ax.texts[0].get_text() == f"{table.best.covariance_type}, {table.best.n_components} components"
    pyplot.close("all")


def test_many_types_are_rows(faithful):
    """As mclust's fourteen will be."""
    table = search(faithful, [1, 2], ["tied", "diag"], random_state=0)
    records = [dataclasses.replace(r, covariance_type=f"{r.covariance_type}{i}") for i in range(4) for r in table]
    lines = str(SearchTable(tuple(records), "bic")).splitlines()
    assert lines[2].split() == ["components", "1", "2"]
    assert lines[3].split() == ["tied0", "2607.623", "2325.220*"]
    assert len(lines) == 3 + 8 + 2


# The estimator.


def test_estimator_in_a_pipeline(faithful):
    found = make_pipeline(StandardScaler(), GaussianMixtureSearch((1, 2, 3), ("tied", "diag"), random_state=0))
    found.fit(faithful)
    chosen = found[-1]
    table = search(StandardScaler().fit_transform(faithful), (1, 2, 3), ("tied", "diag"), random_state=0)
    assert str(chosen.table_) == str(table)
    assert (chosen.n_components_, chosen.covariance_type_) == (3, "tied")
    Z = found[0].transform(faithful)
    model = table.best.model
    assert np.array_equal(found.predict(faithful), model.predict(Z))
    assert np.array_equal(chosen.predict_proba(Z), model.predict_proba(Z))
    assert np.array_equal(chosen.score_samples(Z), model.score_samples(Z))
    assert found.score(faithful) == model.score(Z)
    assert np.array_equal(chosen.fit_predict(Z), model.predict(Z))
    assert chosen.sample(5)[0].shape == (5, 2)
    again = clone(chosen)
    assert again.get_params() == chosen.get_params()
    assert not hasattr(again, "table_")


def test_estimator_knows_names(faithful):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(faithful, columns=["eruptions", "waiting"])
    found = GaussianMixtureSearch([2], "diag", random_state=0).fit(frame)
    assert found.feature_names_in_.tolist() == ["eruptions", "waiting"]
    assert found.predict(frame).shape == (272,)
    assert "waiting" in found.table_.summary()
    with pytest.raises(ValueError, match="feature names"):
        found.predict(frame.rename(columns={"waiting": "other"}))


def test_estimator_before_its_fit():
    with pytest.raises(NotFittedError):
        GaussianMixtureSearch().predict([[1.0, 2.0]])
