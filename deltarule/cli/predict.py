"""deltarule predict: the answers of a saved model to raw inputs."""

import csv
import io
import sys
from typing import Annotated, Any

import numpy as np
import typer

from deltarule.cli.opening import open_images, open_inputs, open_model
from deltarule.cli.output import print_json
from deltarule.cli.text import note
from deltarule.data.sequences import Sequences
from deltarule.errors import DeltaruleError
from deltarule.files import write_atomically
from deltarule.model import Model


def predict(
    model_file: Annotated[str, typer.Argument(metavar="MODEL", help="A model file, such as demo/model.safetensors.", show_default=False)],
    inputs: Annotated[list[str], typer.Argument(metavar="FILE", show_default=False, help=(
        "Raw, unscaled inputs: a .csv, .tsv, .txt or .parquet table, a .npy array, or, for a model of images, their files and folders."))],
    out: Annotated[str | None, typer.Option(metavar="FILE.csv", help="Write there instead of standard output.")] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Add the probability of each class.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Predict: one answer for each row of FILE, as CSV in the order of the rows; for images with their names and probabilities.

    Columns are found by their names; those that the model does not know are ignored with a note.
    """
    model = open_model(model_file)
    if proba and model.labels is None:
        raise DeltaruleError(f"{model_file} predicts numbers, which have no probabilities; leave out --proba")
    images = open_images(model, inputs)
    if images is None and len(inputs) > 1:
        raise DeltaruleError(f"predict expected one table or array file, received {len(inputs)}; several files are for models of images")
    raw = open_inputs(model, inputs[0]) if images is None else images.x
    x, notes = model.preprocessor.transform_with_notes(raw, model.network.dtype)
    outputs = model.meaning(model.network.predict(x))
    names, columns = _columns(model, outputs, proba)
    if images is not None:
        notes += images.notes
        names, columns = ["image", *names], [list(images.files), *columns]
        if model.labels is not None:
            names.insert(2, "probability")
            columns.insert(2, _plain(outputs.max(axis=1)))
    if isinstance(raw, Sequences):
        names.insert(0, "sequence" if not model.about.get("steps") else str(model.about["steps"]["id"]))
        columns.insert(0, list(raw.names))
    for text in notes:
        note(text)
    if out is not None:
        write_atomically(out, _csv(names, columns))
    if json:
        print_json({"rows": len(outputs), **dict(zip(names, columns, strict=True)), "notes": notes, "file": out})
    elif out is None:
        sys.stdout.write(_csv(names, columns))


def _columns(model: Model, outputs: np.ndarray, proba: bool) -> tuple[list[str], list[list[Any]]]:
    """Names and values of the columns of the answer."""
    answers = model.answers(outputs)
    if answers.ndim > 1:        # a network with several numbers as output
        flat = answers.reshape(len(answers), -1)
        return [f"prediction_{j + 1}" for j in range(flat.shape[1])], [_plain(column) for column in flat.T]
    names, columns = ["prediction"], [_plain(answers)]
    if proba and model.labels is not None:
        names += [f"p({name})" for name in model.labels.names]
        columns += [_plain(column) for column in outputs.T]
    return names, columns


def _plain(values: np.ndarray) -> list[Any]:
    """As Python values; float32 with the digits it has, not those of its float64."""
    return [float(str(value)) for value in values] if values.dtype == np.float32 else values.tolist()


def _csv(names: list[str], columns: list[list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()
