"""From words on the command line to data sets, models and inputs."""

import dataclasses
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule import data
from deltarule.cli.text import note, shorten
from deltarule.data import imagefiles
from deltarule.data.columns import Column
from deltarule.data.dataset import Dataset
from deltarule.data.delimited import ENDINGS, is_number
from deltarule.data.long_tables import read_sequences
from deltarule.data.preprocessing import Labels, Preprocessor
from deltarule.data.sequences import Sequences
from deltarule.ensembles import Ensemble
from deltarule.errors import DataError
from deltarule.files import shown
from deltarule.model import Model, load
from deltarule.network import Network
from deltarule.spec import nearest

if TYPE_CHECKING:
    import polars as pl

FEWEST_ROWS = 10
LONGEST = 96        # pixels of the longer side that images are reduced to, unless another size is asked for
Size = int | tuple[int, int] | None
SPLITS = ("auto", "random", "stratified", "group", "time", "blocks")


@dataclasses.dataclass(frozen=True)
class Steps:
    """The options that say how the rows of a table are steps of sequences: the columns of their ids, times and values.

    With `differences` the times are those since the row before.
    """

    id: str | None = None
    time: str | None = None
    values: tuple[str, ...] = ()
    differences: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a model remembers it."""
        return {"id": self.id, "time": self.time, "values": list(self.values), "differences": self.differences}


def open_data(name: str, target: str | None = None, problem: str | None = None, drop: tuple[str, ...] = (), folder: str | None = None,
              size: Size = None, channels: int | None = None, steps: Steps | None = None) -> tuple[Dataset, Dataset | None]:
    """The data set of this name, in this file or in this folder of images, and its test part where it has one of its own (MNIST).

    Raises DataError for an unknown name (offering the nearest) and where an option is for files only.
    """
    steps = steps or Steps()
    options = {"--time": steps.time, "--values": steps.values, "--differences": steps.differences}
    given = [option for option, value in options.items() if value]
    if steps.id is None and given:
        raise DataError(f"{given[0]} is for tables of sequences; name with --id the column that says which rows belong together")
    if steps.differences and steps.time is None:
        raise DataError("--differences says that a column holds the time since the row before; name it with --time")
    if steps.id is not None and (is_folder(name) or is_data_set(name)):
        raise DataError(f"--id is for table files that hold sequences, one row for each step; {shown(name)} is none")
    if folder is not None and name != "mnist":
        raise DataError(f"--data-dir says where the MNIST files are; {shown(name)} does not need it")
    if is_folder(name):
        for option, value in (("--target", target), ("--problem", problem), ("--drop", drop)):
            if value:
                raise DataError(f"{option} is for table files; {shown(name)} is a folder of images, whose classes are its sub-folders")
        return read_folder(name, size, channels, longest=LONGEST), None
    if size is not None or channels is not None:
        raise DataError(f"{'--channels' if size is None else '--size'} is for folders of images; {shown(name)} is none")
    if steps.id is not None:
        return _open_sequences(table_file(name), target, problem, drop, steps), None
    if not is_data_set(name):
        return data.read_table(table_file(name), target, problem, drop), None
    train, test = data.mnist(folder) if name == "mnist" else (data.load(name), None)
    if drop:
        raise DataError(f"--drop is for table files; {name} is taken as it is")
    if target not in (None, train.target_name):
        raise DataError(f"--target is for table files; {name} has the target {train.target_name!r}")
    if problem not in (None, train.problem):
        raise DataError(f"--problem is for table files; {name} is a {train.problem} problem")
    return train, test


def _open_sequences(path: str, target: str | None, problem: str | None, drop: tuple[str, ...], steps: Steps) -> Dataset:
    if target is None:
        raise DataError("--target is missing: which column says what each sequence is? It holds the same in all rows of a sequence")
    if drop:
        raise DataError("--drop is for tables of rows; name the columns that are measured with --values")
    return read_sequences(path, id=str(steps.id), time=steps.time, values=steps.values or None, label=target, problem=problem,
                          differences=steps.differences).dataset()


def divided(data: Dataset, own_test: Dataset | None, split: str, share: float | None, seed: int) -> tuple[Dataset, Dataset, str]:
    """The training part, the test part, and in words how they were divided; `share` None is the usual fifth.

    Raises DataError for too few rows and for a training part with one class or value only.
    """
    kind, _, named = split.partition(":")
    if kind not in SPLITS or (kind in SPLITS[3:]) != bool(named):
        raise DataError(f"--split is {split!r}, expected auto, random, stratified, group:COLUMN, time:COLUMN or blocks:COLUMN,COLUMN")
    if len(data) < FEWEST_ROWS:
        raise DataError(f"{data.name} has {len(data)} {data.unit}s, expected at least {FEWEST_ROWS}, so that some can be kept for the test")
    if own_test is not None:
        if share is not None or split != "auto":
            raise DataError(f"{data.name} has a test part of its own; leave out --test and --split")
        return data, own_test, "the test part that belongs to the data set"
    train, test = data.split(0.2 if share is None else share, split, seed)
    kind = kind if kind != "auto" else "stratified" if data.class_names else "random"
    how = {"random": f"at random, seed {seed}", "stratified": f"at random, every class in its share, seed {seed}",
           "group": f"whole groups of {named!r}, seed {seed}", "time": f"the latest rows by {named!r} test",
           "blocks": f"whole blocks over {named!r}, seed {seed}"}[kind]
    if train.y.min() == train.y.max():
        only = repr(data.class_names[int(train.y[0])]) if data.class_names else f"{train.y[0]:g}"
        raise DataError(f"the training part holds only {only} as {data.target_name!r}; choose another --split or --test")
    return train, test, how


def is_data_set(name: str) -> bool:
    """Whether `name` is a data set that needs no file."""
    return name == "mnist" or name in data.names()


def is_folder(name: str) -> bool:
    """Whether `name` is a folder, which then should hold images."""
    return not is_data_set(name) and Path(name).is_dir()


def read_folder(name: str, size: Size, channels: int | None, **options: Any) -> Dataset:
    """The images in a folder; files left out are told among the notes, not by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return data.read_images(name, size, channels, **options)


def table_file(name: str) -> str:
    """The path, if it could be a table file; a word without ending that is no file is taken for a misspelt data set."""
    if Path(name).suffix or os.sep in name or Path(name).exists():
        return name
    known = (*data.names(), "mnist")
    hint = nearest(name, known).replace("known:", "the data sets are")
    raise DataError(f"there is no data set and no file {name!r}{hint}; a table file ends in {', '.join(ENDINGS)}; images are given as "
                    f"a folder")


def open_model(path: str) -> Model:
    """The model in a file; a bare network becomes a model that leaves its inputs as they are and numbers its classes.

    Raises DataError for an ensemble, which the commands do not know.
    """
    model = load(path)
    if isinstance(model, Ensemble):
        raise DataError(f"{shown(path)} holds an ensemble of {len(model)} networks, which this command does not take; in Python "
                        "deltarule.load opens it, and its members[0].save(...) writes a single network")
    if not isinstance(model, Network):
        return model
    shape = model.input_shape
    columns = tuple(Column(f"x{j}") for j in range(shape[0])) if len(shape) == 1 else (Column("x"),)
    classes = {"softmax": model.output_shape[-1], "sigmoid": 2 if model.output_shape == (1,) else 0}.get(model.output.activation or "", 0)
    preprocessor = Preprocessor("array" if len(shape) == 1 else "images", shape, columns)
    return Model(model, preprocessor, Labels(tuple(range(classes))) if classes else None)


def open_images(model: Model, paths: list[str]) -> data.Images | None:
    """The images in files and folders, prepared as the model needs them; None where the model or the file is of another kind.

    Raises DataError for image files and a model that was not trained on such.
    """
    of_images, one_array = model.preprocessor.pictures, len(paths) == 1 and Path(paths[0]).suffix.lower() == ".npy"
    if one_array and not (of_images and open_array(paths[0]).ndim < 4):
        return None
    if of_images:
        return data.read_image_files(paths, *_prepared(model))
    for path in paths:
        if Path(path).is_dir() or Path(path).suffix.lower() in (*imagefiles.PICTURES, *imagefiles.FITS):
            raise DataError(_not_for_images(model, path))
    return None


def _prepared(model: Model) -> tuple[tuple[int, int], int]:
    """Size and channels of the images that the model takes."""
    height, width, channels = model.preprocessor.shape
    return (height, width), channels


def _not_for_images(model: Model, path: str) -> str:
    form, shape = model.preprocessor.form, ", ".join(map(str, model.preprocessor.shape))
    known = "a table" if form == "table" else "sequences" if form == "sequences" else f"arrays of shape (n, {shape})"
    return f"{shown(path)} holds images, and the model was not trained on image files but on {known}"


def _steps_of(model: Model, path: str, target: str | None = None) -> Sequences:
    """The sequences in a table file, whose columns have the names they had in training."""
    steps = model.about.get("steps") or {}
    if not steps.get("id"):
        raise DataError("the model file does not say how its sequences stand in a table; use Model.predict in Python")
    return read_sequences(table_file(path), id=steps["id"], time=steps["time"], values=steps["values"], label=target,
                          differences=steps.get("differences", False), classes=model.labels.names if model.labels else ())


def open_inputs(model: Model, path: str) -> "np.ndarray | pl.DataFrame | Sequences":
    """Raw inputs from a table file or a .npy file. Raises DataError where the file does not fit the model."""
    if Path(path).suffix.lower() == ".npy":
        return open_array(path)
    preprocessor = model.preprocessor
    if preprocessor.form == "sequences":
        return _steps_of(model, path)
    if preprocessor.form == "images":
        shape = ", ".join(map(str, preprocessor.shape))
        raise DataError(f"the model was trained on arrays of shape (n, {shape}); give them as a .npy file")
    if preprocessor.named:
        return data.read_columns(table_file(path), preprocessor.kinds)
    frame = data.read_columns(table_file(path))
    texts = [name for name, dtype in frame.schema.items() if not dtype.is_numeric()]
    if texts:
        raise DataError(f"{shown(path)}, column {texts[0]!r}: text where numbers were expected")
    return frame.to_numpy()


def open_array(path: str) -> np.ndarray:
    """The array in a .npy file; pickled objects are refused."""
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise DataError(f"{shown(path)} is not an array file that can be read: {error}") from None


def open_answered(model: Model, source: str, target: str | None, data_dir: str | None = None) -> tuple[Any, np.ndarray, bool]:
    """Raw inputs and targets y (n,) of a table file, a folder or a data set, and whether the model may have been trained on them.

    Raises DataError where they do not fit the model.
    """
    if is_folder(source):
        if not model.preprocessor.pictures or model.labels is None:
            raise DataError(_not_for_images(model, source))
        images = read_folder(source, *_prepared(model), classes=model.labels.names)
        for text in images.notes:
            note(text)
        return images.x, images.y, False
    if model.preprocessor.pictures:
        raise DataError(f"the model was trained on images; {shown(source)} is no folder with one folder of images for each class")
    if not is_data_set(source):
        return *open_examples(model, source, target), False
    whole, own_test = open_data(source, target, folder=data_dir)
    chosen = own_test or whole
    if chosen.class_names != (model.labels and model.labels.names):
        raise DataError(f"the model does not fit {source}: it predicts {_kind(model.labels.names if model.labels else None)}, "
                        f"{source} holds {_kind(chosen.class_names)}")
    return chosen.x, chosen.y, own_test is None and model.about.get("name") == chosen.name


def _kind(classes: tuple[str, ...] | None) -> str:
    return shorten(f"the classes {', '.join(classes)}") if classes else "numbers"


def open_examples(model: Model, path: str, target: str | None) -> tuple[Any, np.ndarray]:
    """Raw inputs and targets y (n,) of a table file, y as class indices or numbers."""
    name = target or model.about.get("target")
    if name is None:
        raise DataError("the model file does not say what the target is called; name it with --target")
    if Path(path).suffix.lower() == ".npy":
        raise DataError(f"{shown(path)} holds no targets; evaluate expects a table file with the column {name!r}")
    if model.preprocessor.form == "sequences":
        sequences = _steps_of(model, path, name)
        return sequences, np.asarray(sequences.y)
    kind = _target_kind(model)
    frame = data.read_columns(table_file(path), {**model.preprocessor.kinds, **({name: kind} if kind else {})})
    if name not in frame.columns:
        raise DataError(f"{shown(path)} has no column {name!r}{nearest(name, frame.columns)}; name the target with --target")
    y = data.target_values(frame[name], model.labels.names if model.labels else None)
    x = frame.drop(name)
    return (x if model.preprocessor.named else data.read_columns(path).drop(name).to_numpy()), y


def _target_kind(model: Model) -> str | None:
    """How the target column is to be read: as numbers, booleans or (None) as text."""
    if model.labels is None:
        return "number"
    names = model.labels.names
    if set(names) <= {"true", "false"}:
        return "boolean"
    return "number" if all(is_number(name) for name in names) else None
