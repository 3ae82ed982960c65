"""The command `deltarule`. Whatever the user can mend is one line on standard error and exit status 2, never a trace."""

import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

from deltarule.errors import DeltaruleError
from deltarule.files import CAUSES

MISTAKE, INTERRUPTED = 2, 130
TOO_LARGE = "not enough memory for these data and this network; take fewer rows, or a smaller --hidden or --batch-size"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: those of the process) and return its exit status.

    0 is success, 2 a mistake that was told in one line, 130 an interruption by Ctrl-C.

    >>> main(["--version"])
    deltarule 0.1.0
    0
    """
    gc.set_threshold(100_000)       # a command makes little garbage, and imports much that is none
    import typer
    from typer.exceptions import TyperException

    from deltarule.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")       # a letter that the terminal lacks is no reason to fail
    try:
        command = typer.main.get_command(app)       # not app(...), which would swallow Ctrl-C and a closed pipe
        with command.make_context("deltarule", list(sys.argv[1:] if argv is None else argv) or ["--help"]) as context:
            status = command.invoke(context)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except typer.Exit as done:      # --help and --version
        sys.stdout.flush()
        return done.exit_code
    except DeltaruleError as error:
        return _fail(str(error))
    except TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see {_command(error)} --help")
    except BrokenPipeError:     # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.filename or 'standard output'}: {CAUSES.get(error.errno or 0) or error.strerror or error}")
    except MemoryError:
        return _fail(TOO_LARGE)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written", INTERRUPTED)
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):      # JAX has no class of its own for it
            raise
        return _fail(TOO_LARGE)


def _fail(message: str, status: int = MISTAKE) -> int:
    from deltarule.cli.text import one_line

    print(f"deltarule: {one_line(message)}", file=sys.stderr)
    return status


def _command(error: Any) -> str:
    return getattr(getattr(error, "ctx", None), "command_path", None) or "deltarule"
