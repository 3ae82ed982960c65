"""deltarule write: a saved language model goes on with a text."""

import sys
from typing import Annotated

import typer

from deltarule.cli.output import print_json
from deltarule.errors import DeltaruleError
from deltarule.model import load
from deltarule.network import Network


def write(
    model_file: Annotated[str, typer.Argument(metavar="MODEL", help="A language model saved with its vocabulary (net.symbols).",
                                              show_default=False)],
    prompt: Annotated[str, typer.Argument(metavar="TEXT", help="How the text begins.", show_default=False)],
    length: Annotated[int, typer.Option(help="How many characters (or other symbols) are written.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the most probable, 1 draws as the model has learnt.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Another seed, another text.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Write: the text that a language model goes on with."""
    from deltarule import generation

    net = load(model_file)
    if not isinstance(net, Network):
        raise DeltaruleError(f"{model_file} holds a model of a table or of images, which does not write; write needs a language model")
    text = generation.write(net, prompt, length, temperature=temperature, seed=seed)
    if json:
        print_json({"prompt": prompt, "text": text, "length": length, "temperature": temperature, "seed": seed})
    else:
        sys.stdout.write(text + "\n")
