"""The commands and what they have in common."""

from typing import Annotated

import typer

import deltarule
from deltarule.cli.check import check
from deltarule.cli.evaluate import evaluate
from deltarule.cli.inspect import inspect
from deltarule.cli.lessons import lesson, lessons
from deltarule.cli.predict import predict
from deltarule.cli.programs import keep_programs
from deltarule.cli.see import doctor, trace
from deltarule.cli.train import train
from deltarule.cli.write import write

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
                  context_settings={"help_option_names": ["-h", "--help"]},
                  epilog="Begin with: deltarule train digits --out demo")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deltarule {deltarule.__version__}")
        raise typer.Exit


@app.callback()
def about(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="Show the version and exit.")] = False) -> None:
    """Train, check and use neural networks on your own data."""
    keep_programs()


for command in (train, check, predict, evaluate, inspect, trace, doctor, write, lessons, lesson):
    app.command()(command)
