"""Fitted mixtures in one file, without pickle: nothing in it can run code."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from fastem.data.writing import whole_file
from fastem.families import FAMILIES
from fastem.mixture import Mixture

FORMAT = "fastem mixture"
VERSION = 1


def save_mixture(path: str | os.PathLike[str], mixture: Mixture, details: dict[str, Any] | None = None) -> None:
    """Write a mixture to ``path``: JSON text where it ends in ``.json``, else NumPy's ``.npz``.

    The file appears whole or not at all.

    Raises
    ------
    ValueError
        If the ending is neither.
    """
    path = Path(path)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "family": mixture.family.name,
        "settings": mixture.family.settings(),
        "details": details or {},
    }
    arrays = {f.name: np.asarray(getattr(mixture.params, f.name)) for f in fields(mixture.params)}
    if path.suffix not in (".json", ".npz"):
        raise ValueError(f"a model is saved as .npz or .json, but the path is {path}")
    with whole_file(path) as temporary:
        if path.suffix == ".json":
            lists = {name: array.tolist() for name, array in arrays.items()}
            temporary.write_text(json.dumps({**header, "params": lists}, indent=1, allow_nan=False), encoding="utf-8")
        else:
            with temporary.open("wb") as file:
                np.savez(file, header=np.array(json.dumps(header, allow_nan=False)), **arrays)  # type: ignore[arg-type]


def load_mixture(path: str | os.PathLike[str]) -> tuple[Mixture, dict[str, Any]]:
    """The mixture in a file that :func:`save_mixture` wrote, and its details.

    Raises
    ------
    ValueError
        If the file is damaged, of another program, or of a newer version; the message says which.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    try:
        header, arrays = _read_json(path) if path.suffix == ".json" else _read_npz(path)
        is_ours = header["format"] == FORMAT
        version = header["version"]
    except Exception as error:  # whatever a damaged file makes of its reader
        raise ValueError(f"{path} is not a fastem model, or it is damaged; save the model again") from error
    if not is_ours:
        raise ValueError(f"{path} is not a fastem model, but {header['format']!r}")
    if version != VERSION:
        raise ValueError(
            f"{path} is a fastem model of format version {version}, and this fastem reads version {VERSION}; upgrade "
            "fastem"
        )
    try:
        family = FAMILIES[header["family"]](**header["settings"])
        params = family.params_type(**arrays)
        family.check_params(params)
        details = header["details"]
        n_names = len(details.get("feature_names") or ())
        if n_names not in (0, params.origin.shape[1]):
            raise ValueError(f"{n_names} feature names for {params.origin.shape[1]} features")
        if details.get("dtype", "float64") not in ("float32", "float64"):
            raise ValueError(f"float type {details['dtype']!r}")
    except Exception as error:
        raise ValueError(f"{path} is a damaged fastem model ({error}); save the model again") from error
    return Mixture(family, params), details


def _read_json(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    header = json.loads(path.read_text(encoding="utf-8"))
    return header, {name: np.array(values, dtype=np.float64) for name, values in header["params"].items()}


def _read_npz(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    # Opened here, for NumPy leaves it open where its own reading fails.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("not an npz file")
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("header"))), arrays
