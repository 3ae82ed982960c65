"""The summary of a network: layers, shapes, parameters, receptive fields, and multiply-adds as counted in the program itself."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax

from deltarule import kernels
from deltarule.glass.receptive_field import Walk, sizes
from deltarule.layers.forward import forward
from deltarule.layers.layer import Layer
from deltarule.layers.scope import Plan, unflatten


@dataclass(frozen=True)
class SummaryRow:
    """One layer: its path, its class, the shape that leaves it (without the batch), its parameters, its multiply-adds for one row.

    `receptive_field` is the size of the part of an image that its units see; None without space, and where it is not known.
    """

    path: str
    layer: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Summary:
    """The rows of a network's summary with their totals; printing it shows the table."""

    input_shape: tuple[int, ...]
    rows: tuple[SummaryRow, ...]

    @property
    def parameters(self) -> int:
        """Learnt numbers in the whole network."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiplications (each with its addition) of one row's way through the network."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self) -> str:
        header = ("layer", "kind", "output shape", "receptive field", "parameters", "multiply-adds")
        body = [("input", "", str(self.input_shape), "", "", "")]
        body += [(row.path, row.layer, str(row.output_shape), " x ".join(map(str, row.receptive_field or ())), f"{row.parameters:,}",
                  f"{row.multiply_adds:,}") for row in self.rows]
        total = ("total", "", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        columns = [i for i in range(len(header)) if i != 3 or any(row.receptive_field for row in self.rows)]
        widths = {i: max(len(line[i]) for line in (header, *body, total)) for i in columns}
        ruler = "  ".join("-" * width for width in widths.values())

        def line(cells: tuple[str, ...]) -> str:
            return "  ".join(cells[i].ljust(width) if i < 4 else cells[i].rjust(width) for i, width in widths.items())

        return "\n".join(text.rstrip() for text in (line(header), ruler, *map(line, body), ruler, line(total)))

    __repr__ = __str__


def summarize(layer: Layer, plan: Plan, input_shape: tuple[int, ...], dtype: str) -> Summary:
    """The summary of a planned layer. Composites are not listed, their parts are; a layer used twice is listed twice."""
    params = {path: jax.ShapeDtypeStruct(shape, dtype) for path, (_, shape) in plan.params.items()}
    state = {path: jax.ShapeDtypeStruct(shape, dtype) for path, (_, shape) in plan.state.items()}
    program = jax.make_jaxpr(lambda p, s, x: forward(layer, p, s, x, dtype=dtype)[0].h)(
        unflatten(params), unflatten(state), jax.ShapeDtypeStruct((1, *input_shape), dtype))
    counted: dict[str, int] = {}
    for path, count in _multiply_adds(program.jaxpr, ""):
        counted[path] = counted.get(path, 0) + count
    paths = [visit.path for visit in plan.visits]
    fields = sizes(Walk(layer, plan.visits))
    rows = []
    for visit in plan.visits:
        if any(other.startswith(visit.path + "/") or (not visit.path and other) for other in paths):
            continue
        inside = [(path, shape) for path, (_, shape) in plan.params.items() if _is_inside(path, visit.path)]
        rows.append(SummaryRow(visit.path, type(visit.layer).__name__, visit.output_shape[1:],
                               sum(math.prod(shape) for _, shape in inside),
                               sum(count for path, count in counted.items() if _is_inside(path, visit.path)),
                               fields.get(visit.path)))
    return Summary(input_shape, tuple(rows))


def _is_inside(path: str, layer: str) -> bool:
    return not layer or path == layer or path.startswith(layer + "/")


def _multiply_adds(jaxpr: Any, path: str, times: int = 1) -> Iterator[tuple[str, int]]:
    """(path of the layer, multiply-adds) of every product and convolution in a program.

    Loops count by their length; of several branches the one with the fewest counts, but not one without any.
    """
    for equation in jaxpr.eqns:
        here = "/".join(filter(None, (path, str(equation.source_info.name_stack))))
        kind, values = equation.primitive.name, equation.params
        if kind == "dot_general":
            (contracted, _), _ = values["dimension_numbers"]
            inner = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            yield here, times * inner * math.prod(equation.outvars[0].aval.shape)
        elif kind == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = kernel[values["dimension_numbers"].rhs_spec[0]]
            yield here, times * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // outputs
        elif kind == "ffi_call":
            yield here, times * kernels.multiply_adds(values, [given.aval.shape for given in equation.invars])
        inside = [list(_multiply_adds(program, here, times * values.get("length", 1))) for program in _inner(values)]
        if kind == "cond":      # one of its branches is run
            inside = [min(filter(None, inside), key=lambda branch: sum(count for _, count in branch), default=[])]
        yield from itertools.chain.from_iterable(inside)


def _inner(values: dict[str, Any]) -> Iterator[Any]:
    for value in values.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            program = getattr(item, "jaxpr", item)
            if hasattr(program, "eqns"):
                yield program
