"""Spark in local mode: fits of data frames, against the same fits in memory and against MLlib's."""

import os
import shutil
import subprocess
import sys
import warnings
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from estimator_table import MAKERS, count_table

import fastem
from fastem.engines import get_engine

pytest.importorskip("pyspark")
pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark needs Java (Debian: apt-get install default-jre-headless)", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pyspark.ml import Pipeline, PipelineModel, clustering
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import SparkSession, functions

    from fastem.distributed import spark_tasks
    from fastem.distributed.spark import SparkRows, fit, transform
    from fastem.distributed.spark_ml import GaussianMixture, GaussianMixtureModel

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore:PySpark does not yet fully support pandas:FutureWarning",
    "ignore::DeprecationWarning",
)

FAMILIES = {
    **{s: fastem.Gaussian(s) for s in ("full", "tied", "diag")},
    "auto": fastem.Gaussian("full", "auto"),
    "poisson": fastem.Poisson(),
}
assert set(FAMILIES) - {"auto"} <= set(MAKERS)


def session(cores):
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        # Ready soon rather than fast in the long run.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.sql.codegen.wholeStage": "false",
    }
    builder = SparkSession.builder.master(f"local[{cores}]").appName("fastem's tests")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    os.environ["PYSPARK_PYTHON"] = sys.executable
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        # Spark's workers import from the folder that it was started in: a checkout would hide the installed package.
        patch.chdir(tmp_path_factory.mktemp("spark"))
        spark = session(2)
        patch.undo()
        spark.sparkContext.setLogLevel("OFF")
        yield spark
        spark.stop()


@pytest.fixture(scope="module")
def table():
    return count_table(np.random.default_rng(5))


@pytest.fixture(scope="module")
def df(spark, table):
    return data_frame(spark, table, 4).cache()


def data_frame(spark, table, n_partitions):
    """Numbers, arrays in both precisions, vectors and weights, in partitions of which some may be empty."""
    rows = [(*map(float, row), [float(x) for x in row], float(i % 3), i) for i, row in enumerate(table)]
    schema = "a double, `b.1` double, c double, array array<double>, w double, i int"
    # By the hash of one of 60 numbers.
    frame = spark.createDataFrame(rows, schema).repartition(n_partitions, functions.col("i") % 60)
    single = functions.col("array").cast("array<float>").alias("single")
    return frame.select("*", single, array_to_vector("array").alias("features"))


def parts_of(df):
    """Rows of each partition in their order, and their weights."""
    parts = df.select("array", "w").rdd.glom().collect()
    return [(np.array([r[0] for r in part]).reshape(-1, 3), np.array([r[1] for r in part])) for part in parts]


def start_of(family, X, n_components=3):
    return fastem.fit(X, family, n_components, start="random_from_data", random_state=3, max_iter=0).params


def assert_close(found, expected, rtol=1e-10):
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=rtol, err_msg=name)


@pytest.mark.parametrize("name", FAMILIES)
def test_same_answer_as_in_memory(name, df, table):
    options = {"start": start_of(FAMILIES[name], table), "tol": 1e-6, "max_iter": 6}
    X, weight = (np.concatenate(each) for each in zip(*parts_of(df), strict=True))
    expected = fastem.fit(X, FAMILIES[name], 3, sample_weight=weight, **options)
    found = fit(df, "array", FAMILIES[name], 3, weightCol="w", **options)
    assert_close(found.params, expected.params)
    assert found.run.n_iter == expected.run.n_iter


@pytest.mark.parametrize("columns", [["a", "b.1", "c"], "array", "single", "features"], ids=str)
def test_every_kind_of_column(columns, df, table):
    family = fastem.Gaussian()
    options = {"start": start_of(family, table), "tol": 0.0, "max_iter": 3}
    expected = fastem.fit(table, family, 3, **options)
    found = fit(df, columns, family, 3, **options)
    assert_close(found.params, expected.params, rtol=1e-4 if columns == "single" else 1e-10)
    predicted = transform(df, found, columns).collect()
    X = np.array([row["array"] for row in predicted], dtype=np.float32 if columns == "single" else np.float64)
    posterior = found.posterior(X, "labels", "responsibilities")
    assert [row["prediction"] for row in predicted] == posterior.labels.tolist()
    assert np.array_equal([np.asarray(row["probability"]) for row in predicted], posterior.responsibilities)
    kinds = dict(transform(df, found, columns).dtypes)
    assert kinds["probability"] == ("vector" if columns == "features" else "array<double>")
    assert {name: kinds[name] for name in df.columns} == dict(df.dtypes)
    assert transform(df, found, columns, probabilityCol="").columns == [*df.columns, "prediction"]


def test_sums_are_by_number(spark, table):
    """The bits are those of a sum of 16 partitions, plus that of the other four."""
    df = data_frame(spark, table, 20).where("i % 60 < 30").cache()
    family = fastem.Gaussian()
    start = start_of(family, table)
    engine, parts = get_engine("cython"), parts_of(df)
    each = {i: engine.accumulate(family, X, start, sample_weight=w) for i, (X, w) in enumerate(parts) if len(X)}
    assert len(each) < 20 and max(each) > 15
    groups = [reduce(add, [stats for i, stats in each.items() if i // 16 == group]) for group in (0, 1)]
    expected = family.update(groups[0] + groups[1])
    found = fit(df, "array", family, 3, weightCol="w", start=start, max_iter=1, tol=0.0, engine="cython").params
    for name, value in vars(expected).items():
        assert np.array_equal(getattr(found, name), value), name


def test_groups_are_added_by_number():
    parts = [(i, 1.0 / (i + 1)) for i in range(16)]
    expected = reduce(add, [value for _, value in parts])
    shuffled = [parts[i] for i in np.random.default_rng(0).permutation(16)]
    assert spark_tasks.add_group((3, shuffled)) == (3, expected)


def test_sample_is_that_of_an_array(df):
    X, weight = (np.concatenate(each) for each in zip(*parts_of(df), strict=True))
    with SparkRows(df, "array", "w") as rows:
        mine = rows.sample(50, np.random.RandomState(0))
    expected = fastem.passes.ArrayRows(X, weight).sample(50, np.random.RandomState(0))
    assert np.array_equal(mine.X, expected.X)
    assert np.array_equal(mine.sample_weight, expected.sample_weight)


def test_blocks_do_not_depend_on_batches(monkeypatch):
    monkeypatch.setattr(spark_tasks, "_BLOCK_VALUES", 30)
    X = np.arange(303.0).reshape(101, 3)
    found = []
    for size in (7, 50, 101):
        batches = [
            pa.RecordBatch.from_arrays(
                [pa.array(part.tolist(), pa.list_(pa.float64())), pa.array(part[:, 0])], ["x", "w"]
            )
            for part in np.split(X, range(size, 101, size))
        ]
        records = spark_tasks.to_blocks(batches, np.dtype(np.float64), weighted=True)
        blocks = [spark_tasks.unpickled([record.column(0)[0].as_py()]) for record in records]
        assert [len(rows) for rows, _ in blocks] == [10] * 10 + [1]
        assert np.array_equal(np.concatenate([weight for _, weight in blocks]), X[:, 0])
        found.append(np.concatenate([rows for rows, _ in blocks]))
    assert all(np.array_equal(each, X) for each in found)


def test_what_is_wrong_is_said(spark, df, table):
    col, lit, when = functions.col, functions.lit, functions.when
    with pytest.raises(ValueError, match=r"partition \d+: Input X contains NaN"):
        fit(df.withColumn("a", when(col("i") != 200, col("a"))), ["a", "c"])
    with pytest.raises(ValueError, match="rows have 1 to 3 values"):
        short = df.withColumn("array", when(col("i") == 7, functions.array(lit(1.0))).otherwise(col("array")))
        fit(short.coalesce(1), "array")
    with pytest.raises(ValueError, match="1 rows are null"):
        fit(df.withColumn("array", when(col("i") != 7, col("array"))).coalesce(1), "array")
    with pytest.raises(ValueError, match="no rows"):
        fit(df.where("a < 0"), "array")
    with pytest.raises(ValueError, match="no column 'd'"):
        fit(df, ["a", "d"])
    with pytest.raises(TypeError, match="of type struct"):
        fit(df.select(functions.struct("a").alias("s")), "s")
    with pytest.raises(ValueError, match=r"partition \d+: sample_weight must be finite"):
        fit(df.withColumn("w", -col("w")), "array", weightCol="w")
    with pytest.raises(TypeError, match=r"spark\.fit\(df, columns"):
        fastem.GaussianMixture(2).fit(df)
    with pytest.raises(ValueError, match="already"):
        transform(df.withColumn("prediction", lit(1)), fastem.fit(table, max_iter=1), "array")


def test_nothing_is_left_behind(spark, df, table):
    context = spark.sparkContext
    before = context._jsc.getPersistentRDDs().size()
    fit(df, "array", "gaussian", 2, start=start_of(fastem.Gaussian(), table, 2), max_iter=2)
    with pytest.raises(ValueError, match="no rows"):
        fit(df.where("a < 0"), "array")
    assert context._jsc.getPersistentRDDs().size() == before
    assert context.getLocalProperty("spark.job.description") is None


@pytest.fixture(scope="module")
def blobs(spark):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(300, 2)), rng.normal(size=(200, 2)) + 8.0])
    rows = [([float(x) for x in row],) for row in rng.permutation(X)]
    frame = spark.createDataFrame(rows, "array array<double>").repartition(2)
    return frame.select(array_to_vector("array").alias("features")).cache()


def test_estimator_and_model_as_mllib(blobs, tmp_path):
    """Where components are apart MLlib's own mixture ends at the same optimum."""
    theirs = clustering.GaussianMixture(k=2, seed=1, tol=1e-8).fit(blobs)
    ours = GaussianMixture(k=2, seed=1, tol=1e-9).fit(blobs)
    order, their_order = np.argsort(ours.weights), np.argsort(theirs.weights)
    assert np.allclose(np.array(ours.weights)[order], np.array(theirs.weights)[their_order], atol=1e-4)
    mine, other = ours.gaussiansDF.collect(), theirs.gaussiansDF.collect()
    for i, j in zip(order, their_order, strict=True):
        assert np.allclose(mine[i]["mean"].toArray(), other[j]["mean"].toArray(), atol=1e-3)
        assert np.allclose(mine[i]["cov"].toArray(), other[j]["cov"].toArray(), atol=1e-3)
    labels = [int(r["prediction"]) for r in ours.transform(blobs).select("prediction").collect()]
    their_labels = [int(r["prediction"]) for r in theirs.transform(blobs).select("prediction").collect()]
    assert [list(order).index(x) for x in labels] == [list(their_order).index(x) for x in their_labels]
    vector = blobs.first()["features"]
    assert ours.predict(vector) == labels[0]
    assert ours.predictProbability(vector).toArray().sum() == pytest.approx(1.0)


def test_save_and_load(blobs, tmp_path):
    estimator = GaussianMixture(k=3, covarianceType="diag", seed=4, probabilityCol="p", maxIter=3)
    estimator.save(str(tmp_path / "estimator"))
    again = GaussianMixture.load(str(tmp_path / "estimator"))
    assert again.getK() == 3
    model = Pipeline(stages=[again]).fit(blobs)
    model.save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    stage = loaded.stages[0]
    assert isinstance(stage, GaussianMixtureModel)
    assert stage.uid == model.stages[0].uid == estimator.uid
    assert stage.weights == model.stages[0].weights
    assert loaded.transform(blobs).columns == ["features", "prediction", "p"]
    assert loaded.transform(blobs).collect() == model.transform(blobs).collect()


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np, test_spark as t, fastem
spark = t.session({cores})
df = t.data_frame(spark, t.count_table(np.random.default_rng(5)), 20)
start = t.start_of(fastem.Gaussian(), t.count_table(np.random.default_rng(5)))
found = t.fit(df, "array", "gaussian", 3, start=start, max_iter=5, tol=0.0)
print("BITS", found.params.means.tobytes().hex() + found.params.covariances.tobytes().hex())
"""


@pytest.mark.slow
def test_same_bits_for_any_number_of_executors_threads(tmp_path):
    bits = []
    for cores in (1, 2):
        program = PROGRAM.format(tests=str(Path(__file__).parent), cores=cores)
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        bits += [line for line in done.stdout.splitlines() if line.startswith("BITS")]
        assert len(bits) == cores, done.stderr
    assert bits[0] == bits[1]
