"""deltarule evaluate: how good a saved model is on other rows whose answers are known."""

import dataclasses
from typing import Annotated

import typer

from deltarule.cli.opening import open_answered, open_model
from deltarule.cli.output import print_json
from deltarule.cli.text import note, show_examination
from deltarule.examination import examine
from deltarule.files import shown


def evaluate(
    model_file: Annotated[str, typer.Argument(metavar="MODEL", help="A model file, such as demo/model.safetensors.", show_default=False)],
    source: Annotated[str, typer.Argument(metavar="SOURCE", show_default=False,
                                          help="A table file with the target column, a folder of images, or a data set.")],
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column with the answers (default: as in training).")] = None,
    data_dir: Annotated[str | None, typer.Option(metavar="FOLDER", help="Where the MNIST files are.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Evaluate: accuracy, precision, recall and confusion table, or RMSE, MAE and R2, beside the baseline.

    The baseline is the one of the training: always its commonest class, or its mean. Inputs are raw and unscaled.
    """
    model = open_model(model_file)
    x, y, seen_before = open_answered(model, source, target, data_dir)
    if seen_before:
        note(f"the model was trained on a part of {source}, so this result flatters it; inspect shows its test")
    exam, notes = examine(model, x, y, model.about.get("baseline"))
    for text in notes:
        note(text)
    if json:
        print_json({"result": exam.to_json(), "notes": notes})
    else:
        show_examination(dataclasses.replace(exam, origin=f"of {shown(source)}"))
