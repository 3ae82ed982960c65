"""deltarule trace, deltarule doctor: what goes on inside a saved model, on rows whose answers are known."""

import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from deltarule.cli.opening import open_answered, open_model
from deltarule.cli.output import print_json
from deltarule.cli.text import note, say
from deltarule.data.sequences import Sequences
from deltarule.data.splitting import random_rows
from deltarule.errors import DeltaruleError
from deltarule.files import shown, writable_folder, write_atomically
from deltarule.glass.trace import Trace
from deltarule.model import Model

MOST_ROWS = 2000

ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="A model file, such as demo/model.safetensors.", show_default=False)]
Source = Annotated[str, typer.Argument(metavar="SOURCE", show_default=False,
                                       help="A table file with the target column, a folder of images, or a data set.")]
Target = Annotated[str | None, typer.Option(metavar="COLUMN", help="The column with the answers (default: as in training).")]
DataDir = Annotated[str | None, typer.Option(metavar="FOLDER", help="Where the MNIST files are.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def doctor(model_file: ModelFile, source: Source, target: Target = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Doctor: what keeps a saved model from doing better on these rows, with evidence and remedy.

    At most 2,000 rows are looked at. Dead and saturated units, vanishing deltas, the learning rate, unscaled inputs, classes that
    are never predicted, a loss that does not fit, and more.
    """
    model = open_model(model_file)
    x, y, _ = open_answered(model, source, target, data_dir)
    findings = model.doctor(x, y)
    if json:
        print_json(findings.to_json())
    else:
        print(findings)


def trace(
    model_file: ModelFile, source: Source, target: Target = None, data_dir: DataDir = None,
    row: Annotated[int | None, typer.Option(metavar="N", help="Trace this row alone, counted from 0.")] = None,
    layer: Annotated[str | None, typer.Option(metavar="PATH", help="Explain a unit of this layer, such as dense_1.")] = None,
    unit: Annotated[int, typer.Option(metavar="N", help="The unit to explain, counted from 0.")] = 0,
    step: Annotated[int | None, typer.Option(metavar="N", help="The step to explain, of layers over sequences.")] = None,
    save: Annotated[str | None, typer.Option(metavar="FOLDER", help="Write figures and all arrays (trace.npz) into this folder.")] = None,
    json: Json = False,
) -> None:
    """Trace: the sizes of a, h, delta and gradient by layer on these rows, and the equations of one unit with its numbers.

    Without --row at most 2,000 rows are traced, chosen evenly at random.
    """
    model = open_model(model_file)
    x, y, _ = open_answered(model, source, target, data_dir)
    chosen = _rows(len(y), row)
    found = model.trace(_of(x, chosen), y[chosen])
    told = None if layer is None else found.explain(layer, unit, step=step)
    folder = None if save is None else writable_folder(save)
    table = found.table()
    if json:
        print_json({"rows": len(found), "loss": found.loss, "layers": [vars(part) for part in table.rows],
                    "explanation": None if told is None else {"text": told.text, "latex": told.latex}})
    else:
        which = f"row {row}" if row is not None else f"{len(found):,} of {len(y):,} rows" if len(found) < len(y) else f"{len(found):,} rows"
        say("traced", f"{which} of {shown(source)}: loss {found.loss:.4g}")
        print(table)
        if told is not None:
            print(f"\n{told}")
        elif len(found) == 1:
            print("\nadd --layer dense_1 --unit 0 for its equations with the numbers in them")
    if folder is not None:
        for path in _write(folder, found, model):
            note(f"wrote {path}")


def _rows(n: int, row: int | None) -> np.ndarray:
    if row is not None:
        if not 0 <= row < n:
            raise DeltaruleError(f"--row expected a number from 0 to {n - 1}, received {row}")
        return np.array([row])
    return np.arange(n) if n <= MOST_ROWS else np.sort(random_rows(n, MOST_ROWS / n, 0)[1])


def _of(x: Any, rows: np.ndarray) -> Any:
    if isinstance(x, Sequences):
        return x.subset(rows)
    return x[rows] if isinstance(x, np.ndarray) else x[rows.tolist()]


def _write(folder: Path, found: Trace, model: Model) -> list[Path]:
    """The figures and the arrays of a trace."""
    from deltarule import figures

    figures.save(found.plot(), folder / "trace.png")
    figures.save(figures.network(model.network, trace=found), folder / "network.png")
    arrays = dict(found.taps)
    for layer in found:
        arrays |= {f"{layer.path}/input": layer.input}
        arrays |= {f"{layer.path}/delta of {name}": value for name, value in (layer.deltas or {}).items()}
        arrays |= {f"{layer.path}/gradient of {name}": value for name, value in (layer.gradients or {}).items()}
    content = io.BytesIO()
    np.savez_compressed(content, **{name.replace("/", "."): value for name, value in arrays.items()})   # type: ignore[arg-type]
    write_atomically(folder / "trace.npz", content.getvalue())
    return [folder / name for name in ("trace.png", "network.png", "trace.npz")]
