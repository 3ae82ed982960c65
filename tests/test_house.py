"""The rules of the house: what is imported where, how long a file may be, what an import may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "deltarule"
FILES = sorted(PACKAGE.rglob("*.py"))

# What stands higher may import what stands lower, never the other way.
FLOORS = [
    {"errors"},
    {"spec", "checks", "files", "lazy", "cache"},
    {"kernels"},
    {"textbook"},
    {"ops", "modelfile"},
    {"initializers", "schedules", "losses", "rowwise", "confusion"},
    {"optimizers", "metrics", "layers", "augment"},
    {"data", "segmentation", "transcription"},
    {"training", "glass"},
    {"arguments"},
    {"network"},
    {"figures", "models", "seeing", "generation", "translation", "streaming", "ensembles", "trials", "tuning", "searching"},
    {"automatic"},
    {"model"},
    {"examination"},
    {"estimators", "report", "preflight"},
    {"lessons"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def part_of(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(path):
    """(name of the part, line) for every import from the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "deltarule":
            if node.module == "deltarule":
                yield from ((alias.name, node.lineno) for alias in node.names)
            else:
                yield node.module.split(".")[1], node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[1], node.lineno) for alias in node.names if alias.name.startswith("deltarule."))


@pytest.mark.parametrize("path", FILES[1:], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    here = FLOOR[part_of(path)]
    for name, line in imports(path):
        if name != "__version__":
            assert FLOOR[name] <= here, f"{path.name}:{line} imports {name}, which stands above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_have_one_subject(path):
    assert len(path.read_text().splitlines()) <= 410


def test_no_function_is_longer_than_a_screen():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert length <= 60, f"{path.name}: {node.name} has {length} lines"


def test_import_brings_in_nothing_heavy():
    """scikit-learn, matplotlib, polars, pandas, Pillow, astropy, tokenizers, rich and typer are imported when first used."""
    heavy = ("optax", "sklearn", "matplotlib", "polars", "pandas", "rich", "typer", "torch", "PIL", "astropy", "tokenizers")
    code = f"import sys, deltarule; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_public_name_is_documented():
    import deltarule
    for name in dir(deltarule):
        value = getattr(deltarule, name)
        if not name.startswith("_") and (isinstance(value, type) or callable(value)):
            assert value.__doc__, name
