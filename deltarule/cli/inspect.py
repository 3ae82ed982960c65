"""deltarule inspect: what a model file holds."""

from typing import Annotated, Any

import typer

from deltarule.cli.opening import open_model
from deltarule.cli.output import print_json
from deltarule.cli.text import columns, say
from deltarule.glass.treatment import treatments
from deltarule.network import PROBES
from deltarule.spec import to_json

MOST_COLUMNS = 20


def inspect(
    model_file: Annotated[str, typer.Argument(metavar="MODEL", help="A model file, such as demo/model.safetensors.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Inspect: layers, preprocessing, recipe, versions and digest of a model file, after checking that it is whole.

    Nothing in the file is executed. Its digest is compared, and its probe rows are predicted again.
    """
    from safetensors import safe_open

    model = open_model(model_file)      # checks header, digest and probes
    with safe_open(model_file, "numpy") as file:
        metadata = file.metadata()
    network, about = model.network, model.about
    if json:
        print_json({"architecture": to_json(network.layer), "summary": [vars(row) for row in network.summary().rows],
                    "parameters": network.summary().parameters, "input_shape": list(network.input_shape), "dtype": network.dtype,
                    "preprocessing": model.preprocessor.to_json(), "classes": model.labels and list(model.labels.names), "about": about,
                    "training": network.training, "epochs_trained": network.epochs_trained, "seed": network.seed,
                    "format_version": int(metadata["format_version"]), "deltarule_version": metadata["deltarule_version"],
                    "sha256": metadata["sha256"], "probes": "passed"})
        return
    say("model", f"{model_file}: predicts {about.get('target', 'the target')}{_of(about)}")
    print(network.summary())
    shape = " x ".join(map(str, model.preprocessor.shape))
    say("inputs", f"images {shape}, as files or arrays" if model.preprocessor.pictures else
        f"arrays {shape}" if model.preprocessor.form == "images" else
        f"sequences {shape} (steps x channels)" if model.preprocessor.form == "sequences" else f"{shape} columns")
    rows = treatments(model.preprocessor)
    print("\n".join("  " + line for line in columns(rows[:MOST_COLUMNS], left=3)))
    if len(rows) > MOST_COLUMNS:
        say("", f"and {len(rows) - MOST_COLUMNS} more; --json shows all")
    say("answers", f"one of {len(model.labels.names)} classes: {', '.join(model.labels.names)}" if model.labels else "a number")
    for what, text in _recipe(model.network.training, about):
        say(what, text)
    versions = about.get("versions", {"deltarule": metadata["deltarule_version"]})
    say("versions", ", ".join(f"{name} {version}" for name, version in versions.items()) + f"; file format {metadata['format_version']}")
    say("digest", f"SHA-256 {metadata['sha256']}")
    say("checks", f"whole and unaltered; its {PROBES} probe rows give the stored outputs")


def _of(about: dict[str, Any]) -> str:
    return f", trained on {about['rows']:,} {about.get('unit', 'row')}s of {about['name']}" if "rows" in about and "name" in about else ""


def _recipe(training: dict[str, Any], about: dict[str, Any]) -> list[tuple[str, str]]:
    """How it was trained and how the test went, as far as the file says."""
    lines = []
    if training:
        optimizer = dict(training["optimizer"])
        settings = ", ".join(f"{name} {value}" for name, value in optimizer.items() if name != "class")
        lines.append(("recipe", f"{training['loss']['class']}, {optimizer['class']}{f' ({settings})' if settings else ''}, "
                                f"{training['batch_size']} rows in a step, up to {training['epochs']} epochs, seed {training['seed']}"))
    if "command" in about:
        lines.append(("command", about["command"]))
    test = about.get("test")
    if test:
        values = ("accuracy", "log_loss", "kappa") if test.get("classes") else ("rmse", "mae", "r2")
        rows = f"{test['rows']} {about.get('unit', 'row')}s: "
        lines.append(("test", rows + ", ".join(f"{name.replace('_', ' ')} {test[name]:.4g}" for name in values)))
    return lines
