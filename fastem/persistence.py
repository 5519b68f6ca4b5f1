"""Fitted mixtures in one file, without pickle: nothing in it can run code."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if path.suffix == ".json":
                lists = {name: array.tolist() for name, array in arrays.items()}
                file.write(json.dumps({**header, "params": lists}, indent=1).encode())
            else:
                np.savez(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
        if header["format"] != FORMAT:
            raise KeyError("format")
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a fastem model, or it is damaged; save the model again") from error
    if header["version"] != VERSION:
        raise ValueError(
            f"{path} is a fastem model of format version {header['version']}, and this fastem reads version {VERSION}; "
            "upgrade fastem"
        )
    try:
        family = FAMILIES[header["family"]](**header["settings"])
        params = family.params_type(**arrays)
        packed = family.pack(params, np.dtype(np.float64))
        if not all(np.isfinite(a).all() for a in (*arrays.values(), packed.theta[:, 1:])):
            raise ValueError("values that are not finite")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{path} is a damaged fastem model ({error}); save the model again") from error
    return Mixture(family, params), header["details"]


def _read_json(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    header = json.loads(path.read_text(encoding="utf-8"))
    return header, {name: np.array(values, dtype=np.float64) for name, values in header["params"].items()}


def _read_npz(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as file:
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("not an npz file")
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("header"))), arrays
