"""Dask: fits of collections on a real local cluster of two worker processes, against the same fits in memory."""

import os
import signal
import threading

import numpy as np
import pytest
from estimator_table import MAKERS, METHODS, assert_same_parameters, count_table

from fastem import GaussianMixture, PoissonMixture, fit, search
from fastem.passes import ArrayRows

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
pd = pytest.importorskip("pandas")

from fastem.distributed.dask import DaskRows  # noqa: E402 - needs dask

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::sklearn.exceptions.ConvergenceWarning")

# Given starts, so that fits in memory and elsewhere take the same way.
START = {"init_params": "random_from_data", "random_state": 3}
of_three = MAKERS["full"]


@pytest.fixture(scope="module")
def client():
    slow = {"distributed.comm.timeouts.connect": "60s", "distributed.worker.memory.terminate": False}
    with (
        dask.config.set(slow),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit="1GB"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def on_cluster(client):
    with client.as_current():
        yield client


@pytest.fixture(params=["on this machine's threads", "on a cluster"])
def anywhere(request):
    """Dask's own scheduler of threads, and a cluster."""
    if request.param == "on a cluster":
        with request.getfixturevalue("client").as_current():
            yield
    else:
        yield


@pytest.fixture(scope="module")
def table():
    return count_table(np.random.default_rng(5))


def given(maker, X):
    """Options for a start in memory that the same fit elsewhere takes too."""
    found = maker(max_iter=0, **START).fit(X)
    names = ("weights", "rates") if hasattr(found, "rates_") else ("weights", "means", "precisions")
    return {f"{name}_init": getattr(found, f"{name}_") for name in names} | {"tol": 1e-8, "max_iter": 10}


def partitions(X, sizes=(100, 3, 0, 97, 160)):
    """A collection of uneven partitions, one of them empty, whose sizes are not known."""
    ends = np.cumsum(sizes)
    parts = [dask.delayed(X[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    unknown = [da.from_delayed(part, (np.nan, X.shape[1]), X.dtype) for part in parts]
    return da.concatenate(unknown, allow_unknown_chunksizes=True)


def test_the_plain_function_gathers_no_collection(table):
    X = da.from_array(table, chunks=(97, -1))
    for collection in (X, dd.from_dask_array(X)):
        with pytest.raises(ValueError, match=r"would all be gathered here; fastem.GaussianMixture\(...\).fit\(X\)"):
            fit(collection, "gaussian", 2)


def test_a_search_over_a_collection(table):
    X = da.from_array(table.astype(float), chunks=(97, -1))
    options = {"n_components": [2, 3], "covariance_types": ["diag", "full"], "random_state": 0}
    found = search(X, **options)
    for record in found:
        assert record.bic == pytest.approx(record.model.bic(table), rel=1e-10)
        assert record.icl == pytest.approx(record.model.icl(table), rel=1e-10)
    with pytest.raises(ValueError, match="which needs the rows in memory"):
        search(X, criterion="cv", **options)


@pytest.mark.parametrize("name", MAKERS)
def test_same_answer_as_in_memory(name, table, on_cluster):
    options = given(MAKERS[name], table)
    in_memory = MAKERS[name](**options).fit(table)
    elsewhere = MAKERS[name](**options).fit(da.from_array(table, chunks=(97, -1)))
    assert_same_parameters(elsewhere, in_memory, rtol=1e-10)
    assert elsewhere.n_iter_ == in_memory.n_iter_
    assert elsewhere.lower_bound_ == pytest.approx(in_memory.lower_bound_, rel=1e-12)


@pytest.mark.parametrize("kind", ["float32", "frame", "unknown", "persisted", "computed from persisted"])
def test_every_kind_of_collection(kind, table, on_cluster):
    rows = table.astype(np.float32) if kind == "float32" else table
    X = {
        "float32": lambda: da.from_array(rows, chunks=(50, -1)),
        "frame": lambda: dd.from_pandas(pd.DataFrame(rows, columns=list("abc")), npartitions=4).persist(),
        "unknown": lambda: partitions(rows),
        "persisted": lambda: da.from_array(rows, chunks=(50, -1)).persist(),
        "computed from persisted": lambda: da.from_array(rows - 1, chunks=(50, -1)).persist() + 1,
    }[kind]()
    options = given(of_three, rows) | {"max_iter": 5}
    in_memory, elsewhere = of_three(**options).fit(rows), of_three(**options).fit(X)
    assert_same_parameters(elsewhere, in_memory, rtol=1e-4 if kind == "float32" else 1e-10)
    assert elsewhere.means_.dtype == rows.dtype
    assert hasattr(elsewhere, "feature_names_in_") == (kind == "frame")


def test_same_bits_whoever_computes(table, client):
    """More partitions than are added at a time: the tree adds by number, on one thread, on threads, on two workers."""
    X = da.from_array(table, chunks=(20, -1))
    assert X.npartitions > 16
    options = given(of_three, table)
    found = []
    for scheduler in ("synchronous", "threads"):
        with dask.config.set(scheduler=scheduler):
            found.append(of_three(**options).fit(X))
    with client.as_current():
        found.append(of_three(**options).fit(X))
        one = sorted(client.scheduler_info()["workers"])[0]
        with dask.annotate(workers=[one]):
            found.append(of_three(**options).fit(X))
    for other in found[1:]:
        for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
            assert np.array_equal(getattr(other, name), getattr(found[0], name))


def test_same_start_as_in_memory(table, anywhere):
    weight = np.arange(len(table)) % 3
    elsewhere = DaskRows(partitions(table), partitions(weight[:, None])[:, 0])
    in_memory = ArrayRows(table, weight.astype(np.float64))
    for most in (50, 1000):
        mine, theirs = (rows.sample(most, np.random.RandomState(0)) for rows in (elsewhere, in_memory))
        there = theirs.sample_weight > 0  # where all are taken, an array takes those without weight too
        assert np.array_equal(mine.X, theirs.X[there])
        assert np.array_equal(mine.sample_weight, theirs.sample_weight[there])
        assert len(mine.X) == min(most, 240)


@pytest.mark.parametrize("kind", ["array in memory", "dask array", "series"])
def test_weights(kind, table, anywhere):
    weight = np.random.default_rng(0).integers(0, 3, size=len(table)).astype(float)
    X = da.from_array(table, chunks=(90, -1))
    elsewhere = weight
    if kind == "dask array":
        elsewhere = da.from_array(weight, chunks=90)
    if kind == "series":
        frame = dd.from_pandas(pd.DataFrame(table, columns=list("abc")).assign(w=weight), npartitions=3)
        X, elsewhere = frame[["a", "b", "c"]], frame["w"]
    options = given(of_three, table)
    expected = of_three(**options).fit(table, sample_weight=weight)
    model = of_three(**options).fit(X, sample_weight=elsewhere)
    assert_same_parameters(model, expected, rtol=1e-10)
    for name in ("score", "bic", "aic", "icl"):
        assert getattr(model, name)(X, sample_weight=elsewhere) == pytest.approx(
            getattr(expected, name)(table, sample_weight=weight), rel=1e-10
        )


@pytest.mark.parametrize("name", ["full", "poisson"])
def test_predictions_are_lazy(name, table, anywhere):
    frame = pd.DataFrame(table, columns=list("abc"), index=np.arange(len(table)) * 2)
    model = MAKERS[name](**START).fit(frame)
    computed = []
    X = da.from_array(table, chunks=(90, -1)).map_blocks(lambda rows: computed.append(1) or rows, dtype=table.dtype)
    computed.clear()
    frames = dd.from_pandas(frame, npartitions=3)
    plain = MAKERS[name](**START).fit(table)
    for method in METHODS[:3]:
        expected = getattr(model, method)(frame)
        lazy, by_index = getattr(plain, method)(X), getattr(model, method)(frames)
        assert isinstance(lazy, da.Array)
        assert lazy.shape == expected.shape
        assert lazy.dtype == expected.dtype
        assert not computed
        assert np.array_equal(lazy.compute(), expected)
        assert isinstance(by_index, dd.DataFrame if expected.ndim == 2 else dd.Series)
        assert by_index.compute().index.equals(frame.index)
        assert np.array_equal(by_index.compute().to_numpy(), expected)
        computed.clear()
    for method in METHODS[3:]:
        assert getattr(plain, method)(X) == pytest.approx(getattr(plain, method)(table), rel=1e-12)


def test_predictions_of_partitions_of_unknown_size(table):
    model = of_three(**START).fit(table)
    X = partitions(table)
    assert np.array_equal(model.predict(X).compute(), model.predict(table))
    assert np.array_equal(model.predict_proba(X).compute(), model.predict_proba(table))
    assert np.array_equal(model.fit_predict(X).compute(), model.predict(table))


def test_names_of_features(table):
    frame = pd.DataFrame(table, columns=list("abc"))
    model = of_three(**START).fit(dd.from_pandas(frame, npartitions=2))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(dd.from_pandas(frame[["b", "a", "c"]], npartitions=2))
    with pytest.raises(ValueError, match="features"):
        of_three(**START).fit(table).predict(da.from_array(table[:, :2], chunks=90))


def test_statistics_travel_and_partitions_stay(on_cluster):
    """The bytes that go between workers, and where the partitions are before and after."""
    X = da.random.default_rng(0).normal(size=(200_000, 4), chunks=(25_000, 4)).persist()
    distributed.wait(X)
    partition_bytes = 25_000 * 4 * 8
    before = on_cluster.who_has(X)
    options = given(of_three, X[:500].compute()) | {"max_iter": 5, "tol": 0.0}
    on_cluster.run(lambda dask_worker: dask_worker.transfer_outgoing_log.clear())
    of_three(**options).fit(X)
    logs = on_cluster.run(lambda dask_worker: [entry["total"] for entry in dask_worker.transfer_outgoing_log])
    assert max((size for log in logs.values() for size in log), default=0) < partition_bytes / 10
    assert on_cluster.who_has(X) == before


def test_dashboard_names_the_tasks(table, on_cluster):
    GaussianMixture(2, covariance_type="tied", **START).fit(da.from_array(table, chunks=(10, -1)))
    names = on_cluster.run_on_scheduler(lambda dask_scheduler: set(dask_scheduler.task_prefixes))
    expected = {"accumulate", "add", "moments", "parameters", "sample", "survey"}
    assert {f"fastem-{name}" for name in expected} <= names


def spoilt(X, row, value):
    X = X.copy()
    X[row, 1] = value
    return da.from_array(X, chunks=(90, -1))


def test_what_is_wrong_is_said(table, anywhere):
    X = da.from_array(table, chunks=(90, -1))
    with pytest.raises(ValueError, match="partition 2: Input X contains NaN"):
        GaussianMixture(2).fit(spoilt(table, 200, np.nan))
    with pytest.raises(ValueError, match=r"partition 1: .*counts"):
        PoissonMixture(2).fit(spoilt(table, 100, -1.0))
    with pytest.raises(ValueError, match=r"rechunk\(\{1: -1\}\)"):
        GaussianMixture(2).fit(X.rechunk((90, 1)))
    with pytest.raises(ValueError, match="1 dimensions"):
        GaussianMixture(2).fit(X[:, 0])
    with pytest.raises(TypeError, match="from_delayed"):
        GaussianMixture(2).fit(dask.delayed(table))
    with pytest.raises(ValueError, match=r"not for a dask.array.*\.Array, whose partitions stay where they lie"):
        GaussianMixture(2).fit(X, columns=[0, 1])
    with pytest.raises(ValueError, match="not be all zero"):
        GaussianMixture(2).fit(X, sample_weight=da.zeros(len(table), chunks=90))
    with pytest.raises(ValueError, match="in the 4 partitions of X"):
        GaussianMixture(2).fit(X, sample_weight=da.ones(len(table), chunks=50))
    with pytest.raises(ValueError, match=r"partition [12]: sample_weight must have shape"):
        GaussianMixture(2).fit(X, sample_weight=da.ones(len(table), chunks=((90, 80, 100, 90),)))
    with pytest.raises(ValueError, match="not known"):
        GaussianMixture(2).fit(partitions(table), sample_weight=np.ones(len(table)))
    with pytest.raises(ValueError, match="no rows"):
        GaussianMixture(2).fit(X[X[:, 0] < 0])
    with pytest.raises(ValueError, match="n_samples >= n_components"):
        GaussianMixture(9).fit(X[:5])


def test_small_starts_side_by_side(table, on_cluster):
    model = GaussianMixture(3, n_init=3, **START).fit(da.from_array(table, chunks=(90, -1)))
    assert len(model.init_lower_bounds_) == 3


def wait_for_two(client):
    """Its nanny starts a killed worker again, unless it was killed before the nanny knew that it had begun."""
    try:
        client.wait_for_workers(2, timeout=30)
    except TimeoutError:
        client.cluster.scale(len(client.cluster.worker_spec) + 1)
        client.wait_for_workers(2, timeout=120)


@pytest.mark.parametrize("n_deaths", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_worker_dies(n_deaths, on_cluster):
    """Killed at a random moment of a fit, a worker costs time, and not a bit of the result."""
    generator = da.random.default_rng(1)
    X = generator.normal(size=(160_000, 8), chunks=(20_000, 8)).persist()
    distributed.wait(X)
    options = given(lambda **options: GaussianMixture(4, **options), X[:500].compute()) | {"tol": 0.0, "max_iter": 15}
    undisturbed = GaussianMixture(4, **options).fit(X)
    a_pass = float(np.median(np.diff(undisturbed.history_["seconds"])))
    rng = np.random.default_rng()
    for _ in range(n_deaths):
        wait_for_two(on_cluster)
        victim = rng.choice(list(on_cluster.run(os.getpid).values()))
        last, delay = rng.integers(1, 13), rng.uniform(0, a_pass)
        killer = threading.Timer(delay, os.kill, [victim, signal.SIGKILL])

        def strike(iteration, last=last, killer=killer):
            if iteration.iteration == last:
                killer.start()

        model = GaussianMixture(4, callbacks=strike, **options).fit(X)
        killer.join()
        assert victim not in on_cluster.run(os.getpid).values()
        for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
            assert np.array_equal(getattr(model, name), getattr(undisturbed, name))
    wait_for_two(on_cluster)
