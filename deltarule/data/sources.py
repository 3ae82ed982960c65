"""Data sets that need no network: five small real ones and four made by a formula.

The real ones are the tables that scikit-learn carries. They are read from its folder directly, because importing
`sklearn.datasets` takes longer than training on them; where the files are not in their place, scikit-learn's loaders are used.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deltarule.data.dataset import Dataset
from deltarule.errors import DataError
from deltarule.spec import nearest

IRIS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
WINE = ("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids", "nonflavanoid_phenols",
        "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines", "proline")
NUCLEUS = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points", "symmetry",
           "fractal dimension")
BREAST_CANCER = (*(f"mean {name}" for name in NUCLEUS), *(f"{name} error" for name in NUCLEUS), *(f"worst {name}" for name in NUCLEUS))
DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
PIXELS = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))


def digits() -> Dataset:
    """Handwritten digits of 8 x 8 pixels: x `(1797, 64)`, the inks 0 ... 16 divided by 16, and ten classes.

    >>> data = digits()
    >>> data.x.shape, data.class_names[data.y[0]], float(data.x.max())
    ((1797, 64), '0', 1.0)
    """
    table = _bundled("load_digits", "digits.csv.gz")
    return _classes(table[:, :-1] / 16.0, table[:, -1], PIXELS, tuple("0123456789"), "digit", "digits",
                    "UCI optical recognition of handwritten digits, test part (Alpaydin and Kaynak 1998), as in scikit-learn",
                    ("each row is an image of 8 x 8 pixels, row by row; inks 0 ... 16 were divided by 16",))


def iris() -> Dataset:
    """Iris flowers: x `(150, 4)`, lengths in cm, and three species.

    >>> iris().class_names
    ('setosa', 'versicolor', 'virginica')
    """
    table = _bundled("load_iris", "iris.csv", header=1)
    return _classes(table[:, :-1], table[:, -1], IRIS, ("setosa", "versicolor", "virginica"), "species", "iris",
                    "Fisher's iris measurements (1936), as in scikit-learn")


def wine() -> Dataset:
    """Wines from three growers: x `(178, 13)`, chemical measurements, and three classes.

    >>> wine().x.shape
    (178, 13)
    """
    table = _bundled("load_wine", "wine_data.csv", header=1)
    return _classes(table[:, :-1], table[:, -1], WINE, ("class_0", "class_1", "class_2"), "class", "wine",
                    "UCI wine recognition data (Forina et al. 1988), as in scikit-learn")


def breast_cancer() -> Dataset:
    """Cell nuclei of breast tumours: x `(569, 30)`, their shapes, and two classes.

    >>> breast_cancer().class_names
    ('malignant', 'benign')
    """
    table = _bundled("load_breast_cancer", "breast_cancer.csv", header=1)
    return _classes(table[:, :-1], table[:, -1], BREAST_CANCER, ("malignant", "benign"), "diagnosis", "breast_cancer",
                    "UCI breast cancer Wisconsin, diagnostic (Street et al. 1993), as in scikit-learn")


def diabetes() -> Dataset:
    """Diabetes patients: x `(442, 10)`, age, sex and blood values in raw units; y, how far the disease went in a year.

    >>> diabetes().problem
    'regression'
    """
    table = _bundled("load_diabetes", "diabetes_data_raw.csv.gz", "diabetes_target.csv.gz", delimiter=None)
    return Dataset(table[:, :-1].astype(np.float32), table[:, -1].astype(np.float32), DIABETES, None, "progression", "diabetes",
                   "diabetes progression in a year (Efron et al. 2004), raw units, as in scikit-learn")


def two_moons(n: int = 200, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Two half circles that reach into each other: x `(n, 2)`, each point moved by a normal error of size `noise`.

    >>> two_moons(4, noise=0.0).y.tolist()
    [0, 1, 0, 1]
    """
    y, place = _made(n, 2)
    angle = np.pi * place
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    return _points(np.where(y[:, None] == 0, upper, lower), y, noise, seed, "two_moons", "two half circles")


def circles(n: int = 200, noise: float = 0.05, seed: int = 0) -> Dataset:
    """A circle of radius 1 and one of radius 1/2 inside it: x `(n, 2)`.

    >>> np.hypot(*circles(4, noise=0.0).x.T).round(2).tolist()
    [1.0, 0.5, 1.0, 0.5]
    """
    y, place = _made(n, 2)
    angle = 2 * np.pi * place
    radius = np.where(y == 0, 1.0, 0.5)
    return _points(radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), y, noise, seed, "circles", "two circles")


def spiral(n: int = 300, classes: int = 3, noise: float = 0.02, seed: int = 0) -> Dataset:
    """Spiral arms around the origin, one per class: x `(n, 2)`; an arm turns by 4 radians while its radius grows to 1.

    >>> spiral(9, classes=3).class_names
    ('0', '1', '2')
    """
    if classes < 2:
        raise DataError(f"classes is {classes}, expected at least 2 arms")
    y, radius = _made(n, classes)
    angle = 2 * np.pi * y / classes + 4.0 * radius
    return _points(radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1), y, noise, seed, "spiral", "spiral arms")


def xor(n: int = 4, noise: float = 0.0, seed: int = 0) -> Dataset:
    """Exclusive or: x `(n, 2)`, the corners of the unit square in turn; with n=4 and no noise, its truth table.

    >>> xor().x.tolist(), xor().y.tolist()
    ([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0])
    """
    _made(n, 4)
    corner = np.arange(n) % 4
    a, b = corner // 2, corner % 2
    return _points(np.stack([a, b], axis=1), a ^ b, noise, seed, "xor", "truth table of exclusive or")


MAKERS: dict[str, Callable[[], Dataset]] = {
    "digits": digits, "iris": iris, "wine": wine, "breast_cancer": breast_cancer, "diabetes": diabetes,
    "two_moons": two_moons, "circles": circles, "spiral": spiral, "xor": xor,
}


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> "wine" in names()
    True
    """
    return tuple(MAKERS)


def load(name: str) -> Dataset:
    """The data set of this name, as the command line asks for it. Raises DataError for an unknown name, offering the nearest.

    >>> load("wines")
    Traceback (most recent call last):
        ...
    deltarule.errors.DataError: there is no data set 'wines'; did you mean 'wine'?
    """
    if name not in MAKERS:
        raise DataError(f"there is no data set {name!r}{nearest(name, MAKERS)}")
    return MAKERS[name]()


def _bundled(loader: str, *files: str, header: int = 0, delimiter: str | None = ",") -> np.ndarray:
    """The numbers of a table that scikit-learn carries `(n, features + 1)`, the target in the last column."""
    package = importlib.util.find_spec("sklearn")
    if package is not None and package.origin is not None:
        paths = [Path(package.origin).parent / "datasets" / "data" / file for file in files]
        if all(path.is_file() for path in paths):
            return np.column_stack([np.loadtxt(path, delimiter=delimiter, skiprows=header) for path in paths])
    import sklearn.datasets

    options = {"scaled": False} if loader == "load_diabetes" else {}
    return np.column_stack(getattr(sklearn.datasets, loader)(return_X_y=True, **options))


def _classes(x: np.ndarray, y: np.ndarray, features: tuple[str, ...], classes: tuple[str, ...], target: str, name: str, source: str,
             notes: tuple[str, ...] = ()) -> Dataset:
    return Dataset(x.astype(np.float32), y.astype(np.int32), features, classes, target, name, source, notes)


def _made(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes in turn `(n,)`, and the place of each point along its curve, 0 ... 1 `(n,)`."""
    if n < classes:
        raise DataError(f"n is {n}, expected at least {classes} points, one per class")
    turn = np.arange(n)
    return turn % classes, (turn // classes) / max((n - 1) // classes, 1)


def _points(x: np.ndarray, y: np.ndarray, noise: float, seed: int, name: str, shape: str) -> Dataset:
    if noise < 0:
        raise DataError(f"noise is {noise}, expected 0 or more")
    moved = x + noise * np.random.default_rng(seed).normal(size=x.shape)
    class_names = tuple(str(k) for k in range(int(y.max()) + 1))
    return Dataset(moved.astype(np.float32), y.astype(np.int32), ("x1", "x2"), class_names, "class", name,
                   f"made by a formula: {shape}, noise {noise}, seed {seed}")
