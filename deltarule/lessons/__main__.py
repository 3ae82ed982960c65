"""`python -m deltarule.lessons FOLDER`: run all lessons and write lectures.md with its figures into the folder."""

import sys
from pathlib import Path

from deltarule.files import write_atomically
from deltarule.lessons.catalogue import names, run
from deltarule.lessons.pages import lectures_page


def main(folder: str) -> int:
    """Write the page and the figures; the exit status is 1 when a number was not as expected."""
    results = []
    for name in names():
        result = run(name)
        results.append(result)
        result.save(Path(folder) / "figures")
        print(f"{name}: {'all as expected' if result.passed else 'NOT as expected'}, {result.seconds:.1f} s", flush=True)
    write_atomically(Path(folder) / "lectures.md", lectures_page(results).encode())
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
