"""A ``pyspark.ml`` estimator and its model, with the names of MLlib's own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.linalg import DenseMatrix, DenseVector
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasMaxIter,
    HasPredictionCol,
    HasProbabilityCol,
    HasSeed,
    HasTol,
    HasWeightCol,
)
from pyspark.ml.util import (
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)

from fastem.distributed.spark import fit, transform
from fastem.families import Gaussian
from fastem.mixture import Mixture
from fastem.persistence import load_mixture, save_mixture


class _Settings(HasFeaturesCol, HasPredictionCol, HasProbabilityCol, HasWeightCol, HasMaxIter, HasTol, HasSeed):
    """What the estimator and the model have in common."""

    k: Param[int] = Param(Params._dummy(), "k", "Number of components, at least 1.", typeConverter=TypeConverters.toInt)
    covarianceType: Param[str] = Param(
        Params._dummy(), "covarianceType", "Structure of the covariances.", typeConverter=TypeConverters.toString
    )
    regCovar: Param[float] = Param(
        Params._dummy(), "regCovar", "Added to the variances.", typeConverter=TypeConverters.toFloat
    )
    initMode: Param[str] = Param(
        Params._dummy(), "initMode", "How starts are found.", typeConverter=TypeConverters.toString
    )
    nInit: Param[int] = Param(
        Params._dummy(), "nInit", "Starts, or panels of starts.", typeConverter=TypeConverters.toInt
    )
    engine: Param[str] = Param(
        Params._dummy(), "engine", "What runs the passes.", typeConverter=TypeConverters.toString
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            k=2, tol=1e-3, maxIter=100, covarianceType="full", regCovar=1e-6, initMode="auto", nInit=1, engine="auto"
        )

    def getK(self) -> int:
        return self.getOrDefault(self.k)


class GaussianMixture(_Settings, Estimator["GaussianMixtureModel"], DefaultParamsReadable, DefaultParamsWritable):
    """A Gaussian mixture for ``pyspark.ml`` pipelines: the parameters of MLlib's, and fastem's own.

    Parameters
    ----------
    featuresCol : str, default="features"
        Column of vectors, or of arrays of numbers.
    predictionCol, probabilityCol : str
        Columns that the model adds: the likeliest component, and the probability of each.
    weightCol : str, optional
        Column of non-negative weights.
    k : int, default=2
        Number of components.
    tol : float, default=1e-3
        Stop when the mean log-likelihood of a row changes by less. MLlib's is of their sum.
    maxIter : int, default=100
    seed : int, optional
    covarianceType : str, default="full"
        As ``covariance_type`` of :class:`fastem.GaussianMixture`.
    regCovar : float, default=1e-6
    initMode : str, default="auto"
        As ``init_params`` of :class:`fastem.GaussianMixture`.
    nInit : int, default=1
    engine : str, default="auto"
    """

    _input_kwargs: dict[str, Any]  # keyword_only's

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: str = "features",
        predictionCol: str = "prediction",
        probabilityCol: str = "probability",
        weightCol: str | None = None,
        k: int = 2,
        tol: float = 1e-3,
        maxIter: int = 100,
        seed: int | None = None,
        covarianceType: str = "full",
        regCovar: float = 1e-6,
        initMode: str = "auto",
        nInit: int = 1,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        self._set(**self._input_kwargs)

    @keyword_only
    def setParams(self, **params: Any) -> GaussianMixture:
        """The parameters of the class, those that are given."""
        return self._set(**self._input_kwargs)

    def _fit(self, dataset: Any) -> GaussianMixtureModel:
        get: Any = self.getOrDefault
        result = fit(
            dataset,
            self.getFeaturesCol(),
            Gaussian(get(self.covarianceType), get(self.regCovar)),
            self.getK(),
            weightCol=self.getWeightCol() if self.isDefined(self.weightCol) else None,
            start=get(self.initMode),
            n_init=get(self.nInit),
            tol=self.getTol(),
            max_iter=self.getMaxIter(),
            random_state=self.getSeed() % 2**32,
            engine=get(self.engine),
        )
        model = GaussianMixtureModel(result)
        model._resetUid(self.uid)
        return self._copyValues(model)


class GaussianMixtureModel(_Settings, Model, MLReadable["GaussianMixtureModel"], MLWritable):
    """A fitted mixture that adds predictions to data frames.

    Attributes
    ----------
    mixture : fastem.Mixture
        As fitted a :class:`fastem.FitResult`; of a loaded model what the file holds.
    """

    def __init__(self, mixture: Mixture | None = None) -> None:
        super().__init__()
        self.mixture = mixture

    @property
    def _params_of(self) -> Any:
        if self.mixture is None:
            raise ValueError("the model has no parameters; fit a GaussianMixture, or load one")
        return self.mixture.params

    @property
    def weights(self) -> list[float]:
        """Weight of each component."""
        return self._params_of.weights.tolist()

    @property
    def gaussiansDF(self) -> Any:
        """A data frame with a row ``mean``, ``cov`` for each component, vector and matrix as MLlib has them."""
        from pyspark.sql import SparkSession

        params = self._params_of
        n_features = params.means.shape[1]
        covariances = self.mixture.family.full_covariances(params)  # type: ignore[union-attr]
        rows = [
            (DenseVector(mean), DenseMatrix(n_features, n_features, covariance.ravel(order="F")))
            for mean, covariance in zip(params.means, covariances, strict=True)
        ]
        return SparkSession.active().createDataFrame(rows, ["mean", "cov"])

    def predict(self, value: Any) -> int:
        """Likeliest component of one vector."""
        return int(np.argmax(self.predictProbability(value).toArray()))

    def predictProbability(self, value: Any) -> DenseVector:
        """Probability of each component for one vector."""
        X = np.asarray(value.toArray() if hasattr(value, "toArray") else value, dtype=np.float64)[None]
        assert self.mixture is not None
        return DenseVector(self.mixture.posterior(X, "responsibilities").responsibilities[0])

    def _transform(self, dataset: Any) -> Any:
        return transform(
            dataset,
            Mixture(self.mixture.family, self._params_of),  # type: ignore[union-attr]
            self.getFeaturesCol(),
            predictionCol=self.getPredictionCol(),
            probabilityCol=self.getProbabilityCol(),
            engine=self.getOrDefault(self.engine),
        )

    def write(self) -> MLWriter:
        return _ModelWriter(self)

    @classmethod
    def read(cls) -> MLReader[GaussianMixtureModel]:
        return _ModelReader()


class _ModelWriter(MLWriter):
    """Spark's metadata, and beside them a file of fastem's own, wherever Spark writes to."""

    def __init__(self, model: GaussianMixtureModel) -> None:
        super().__init__()
        self.model = model

    def saveImpl(self, path: str) -> None:
        assert self.model.mixture is not None
        DefaultParamsWriter.saveMetadata(self.model, path, self.sparkSession)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "mixture.json"
            save_mixture(file, self.model.mixture)
            text = file.read_text(encoding="utf-8")
        self.sparkSession.createDataFrame([(text,)], ["value"]).coalesce(1).write.text(f"{path}/mixture")


class _ModelReader(MLReader[GaussianMixtureModel]):
    def load(self, path: str) -> GaussianMixtureModel:
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        text = self.sparkSession.read.text(f"{path}/mixture", wholetext=True).collect()[0][0]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "mixture.json"
            file.write_text(text, encoding="utf-8")
            mixture, _ = load_mixture(file)
        model = GaussianMixtureModel(mixture)
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model
