"""deltarule lessons, deltarule lesson: what there is to learn, and one lesson run."""

from pathlib import Path
from typing import Annotated

import typer

from deltarule.cli.output import print_json
from deltarule.errors import DeltaruleError
from deltarule.lessons import catalogue
from deltarule.lessons.topics import TOPICS

FAILED = 1      # exit status when a number is not what it is expected to be


def lessons(json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False) -> None:
    """Lessons: every idea of the lectures as a small program that runs and checks its numbers, listed by topic."""
    known = [catalogue.lesson(name) for name in catalogue.names()]
    if json:
        print_json({"lessons": [{"name": lesson.name, "title": lesson.title, "rows": list(lesson.rows), "section": lesson.section,
                                 "lectures": lesson.lectures, "parts": list(lesson.parts)} for lesson in known]})
        return
    section, wide = "", max(len(lesson.name) for lesson in known)
    for lesson in known:
        if lesson.section != section:
            print(("\n" if section else "") + lesson.section)
            section = lesson.section
        print(f"  {lesson.name:<{wide}}  {lesson.title}")
    print("\nRun one with: deltarule lesson xor --save figures")


def lesson(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of a lesson; deltarule lessons lists them.", show_default=False)],
    save: Annotated[str | None, typer.Option(metavar="FOLDER", help="Write the figures into this folder.")] = None,
    svg: Annotated[bool, typer.Option("--svg", help="Write figures as SVG instead of PNG.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> int:
    """Lesson: the idea, the equations, the real engine at work, its numbers beside what is expected, and the figures.

    Exit status 1 when a number is not what it is expected to be.
    """
    if save is not None and Path(save).exists() and not Path(save).is_dir():
        raise DeltaruleError(f"--save expected a folder, {save} is a file; give another name")
    chosen = catalogue.lesson(name)
    if not json:
        print(f"lesson {name}, {chosen.section.lower()}: {'; '.join(TOPICS[row].about for row in chosen.rows)}\n")
    result = catalogue.run(name, None if json else lambda line: print(line, flush=True))
    paths = result.save(save, "svg" if svg else "png") if save is not None else []
    if json:
        print_json(result.to_json() | {"saved": paths})
    else:
        wrong = [check.name for check in result.checks if not check.passed]
        verdict = f"{len(wrong)} not as expected: {', '.join(wrong)}" if wrong else f"all {len(result.checks)} numbers as expected"
        print(f"\n{verdict}; {result.seconds:.1f} s")
        for path in paths:
            print(f"wrote {path}")
        if result.figures and not paths:
            print(f"{len(result.figures)} figure{'s' if len(result.figures) > 1 else ''} drawn; --save FOLDER keeps them")
    return 0 if result.passed else FAILED
