"""Who is compared: fastem's engines and its peers."""

from __future__ import annotations

from typing import Any

from peers.armadillo import Armadillo
from peers.base import MissingPeerError, Peer
from peers.estimators import Fastem, ScikitLearn
from peers.jax_em import Jax
from peers.mclust import Mclust
from peers.onedal import OneDAL
from peers.opencv import OpenCV
from peers.pomegranate import Pomegranate
from peers.spark import Spark

BASE = "scikit-learn"
REFERENCE = "fastem numpy"
#: The contenders that have estimators, which predict as well.
ESTIMATORS = {peer.name: peer for peer in (ScikitLearn(), Fastem("numba"), Fastem("cython"), Fastem("numpy"))}
OTHERS = {peer.name: peer for peer in (OneDAL(), OpenCV(), Armadillo(), Jax(), Pomegranate(), Mclust(), Spark())}
CONTENDERS: dict[str, Peer] = {**ESTIMATORS, **OTHERS}


def find(names: list[str] | None) -> tuple[dict[str, str], dict[str, str]]:
    """Versions of the contenders that can run here, and why the others cannot.

    fastem's engines and scikit-learn are always among them; ``names`` chooses among the others, None all of them.
    """
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for name, peer in CONTENDERS.items():
        if name in OTHERS and names is not None and name not in names:
            continue
        try:
            versions[name] = peer.version()
        except MissingPeerError as reason:
            missing[name] = str(reason)
    return versions, missing


def takers(found: Any, structure: str, dtype: str) -> list[str]:
    """Those of the contenders that fit this structure in this float type."""
    return [name for name in found if structure in CONTENDERS[name].structures and dtype in CONTENDERS[name].dtypes]
