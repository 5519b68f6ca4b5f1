"""Old Faithful: choose a model by BIC, look at it, keep it.

Run it with ``python examples/old_faithful.py [folder for the pictures and the model]``.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # pictures go to files, without a screen

import fastem

DATA = Path(__file__).resolve().parent / "data" / "old_faithful.csv"


def main(folder: Path) -> None:
    X = np.loadtxt(DATA, delimiter=",", skiprows=1)

    # Every number of components with every covariance structure, from starts of its own and from its neighbours.
    table = fastem.search(X, range(1, 7), random_state=0)
    print(table)

    model = table.best.model
    print(f"\n{model.n_components} components, covariance {model.covariance_type}, BIC {model.bic(X):.1f}")
    for weight, mean in zip(model.weights_, model.means_, strict=True):
        print(f"weight {weight:.3f}, mean {mean.round(2)}")

    fastem.plot.mixture(model, X).figure.savefig(folder / "mixture.png", dpi=150)
    table.plot().figure.savefig(folder / "bic.png", dpi=150)

    model.save(folder / "faithful.json")
    again = fastem.load(folder / "faithful.json")
    assert np.array_equal(again.predict(X), model.predict(X))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
