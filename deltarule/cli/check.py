"""deltarule check: in seconds and before training, whether data, network and loss are such that training can work."""

from typing import Annotated

import typer

from deltarule import automatic
from deltarule.cli.opening import Steps, divided, open_data
from deltarule.cli.output import print_json
from deltarule.cli.text import names_in, say, size_in, units_in
from deltarule.data import audit
from deltarule.losses import loss
from deltarule.model import Model
from deltarule.ops.activations import activation as known_activation


def check(
    source: Annotated[str, typer.Argument(metavar="SOURCE", show_default=False,
                                          help="A table file, a folder of images, or a data set such as digits or wine.")],
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="What to predict (default: the last column of the file).")] = None,
    problem: Annotated[str | None, typer.Option(metavar="KIND", help="classification or regression (default: seen from it).")] = None,
    drop: Annotated[str | None, typer.Option(metavar="COLUMNS", help="Columns to leave out, separated by commas.")] = None,
    id: Annotated[str | None, typer.Option(metavar="COLUMN",
                                           help="For sequences, one row for each step: which rows belong together.")] = None,
    time: Annotated[str | None, typer.Option(metavar="COLUMN", help="When each step was: numbers or dates.")] = None,
    values: Annotated[str | None, typer.Option(metavar="COLUMNS", help="What was measured in each step (default: all numbers).")] = None,
    differences: Annotated[bool, typer.Option("--differences", help="The times are those since the row before.")] = False,
    data_dir: Annotated[str | None, typer.Option(metavar="FOLDER", help="Where the MNIST files are.")] = None,
    size: Annotated[str | None, typer.Option(metavar="PIXELS", help="Size of images: 64, or 48x64 for height x width.")] = None,
    channels: Annotated[int | None, typer.Option(metavar="N", help="Turn images into grey (1) or colour (3).")] = None,
    filters: Annotated[str | None, typer.Option(metavar="FILTERS", help="Filters of the convolutions, such as 16,32, or none.")] = None,
    hidden: Annotated[str | None, typer.Option(metavar="UNITS", help="Units of the hidden layers, such as 64,64, or none.")] = None,
    recurrent: Annotated[str | None, typer.Option(metavar="UNITS", help="Units of the GRU layers that read sequences, such as 32.")] = None,
    activation: Annotated[str, typer.Option(metavar="NAME", help="Activation of the hidden layers.")] = "relu",
    seed: Annotated[int, typer.Option(metavar="N", help="Decides split, first weights and order of rows.", min=0, max=2**32 - 1)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Check data and network before training: each line a verdict, its evidence and the next step.

    Data and network are those of deltarule train with the same options; the test rows stay unseen.
    """
    units, maps = units_in(hidden), units_in(filters, "--filters", "filters")
    known_activation(activation)
    data, own_test = open_data(source, target, problem, names_in(drop), data_dir, size_in(size), channels,
                               Steps(id, time, names_in(values), differences))
    train, test, how = divided(data, own_test, "auto", None, seed)
    findings = audit(train, test)
    choices = automatic.choose(Model.problem(train), hidden=units, filters=maps, recurrent=units_in(recurrent, "--recurrent"),
                               activation=activation)
    model, learnt_from, _ = Model.untrained(train, choices, seed=seed)

    from deltarule.preflight import examine
    from deltarule.preflight.table import gaps_of_table

    checks = examine(model.network, model.preprocessor.transform(learnt_from.x), model.encoded(learnt_from.y), loss(choices.loss),
                     choices.optimizer, gaps_of_table(train), findings, not data.files)
    network = next(choice for what, choice, _ in choices.reasons if what == "architecture")
    if json:
        about = {"name": data.name, "source": data.source, "target": data.target_name, "problem": data.problem, "rows": len(data),
                 "notes": list(data.notes)}
        print_json({"data": about, "network": network, **checks.to_json()})
        return
    say("data", f"{data.name}: {len(data):,} {data.unit}s, target {data.target_name!r}, {data.problem}; "
                f"test {data.unit}s ({how}) left aside")
    for text in data.notes:
        say("  note", text)
    say("network", f"{network}, {choices.loss.replace('_', ' ')}")
    print(checks)
