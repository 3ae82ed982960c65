"""The page that leads from each topic of the lectures to its part of the library, its lesson and its figures; made from the lessons."""

from __future__ import annotations

from collections.abc import Sequence

from deltarule.lessons.board import Result
from deltarule.lessons.catalogue import Lesson, lesson
from deltarule.lessons.topics import TOPICS

HEAD = """# From the lectures to the library

Every topic of five introductory lectures on neural networks is a part of the library and a lesson that runs the real engine
and checks its numbers. Run one with `deltarule lesson NAME`, or in Python with `dr.lessons.run("NAME")`.

Lectures: B Baron, Neural Networks; I Ibrahimli, Introduction to Neural Networks; P Poleski, Introduction to Neural Networks;
H Heon, Intro to Neural Networks; N Neural Network Basics. This page is written by `make docs`, from the lessons.
"""


def lectures_page(results: Sequence[Result]) -> str:
    """The page as Markdown, for the results of all lessons in their order; it holds what is expected, not what was measured."""
    lessons = [lesson(result.name) for result in results]
    parts = [HEAD, _overview(lessons)]
    section = ""
    for chosen, result in zip(lessons, results, strict=True):
        if chosen.section != section:
            section = chosen.section
            parts.append(f"## {section}\n")
        parts.append(_entry(chosen, result))
    return "\n".join(parts)


def _overview(lessons: Sequence[Lesson]) -> str:
    lines = ["| row | topic | lectures | lessons | library |", "|---|---|---|---|---|"]
    for row, topic in TOPICS.items():
        here = [chosen for chosen in lessons if row in chosen.rows]
        links = ", ".join(f"[{chosen.name}](#{chosen.name})" for chosen in here)
        used = ", ".join(dict.fromkeys(f"`{part}`" for chosen in here for part in chosen.parts[:3]))
        lines.append(f"| {row} | {topic.about} | {topic.lectures} | {links} | {used} |")
    return "\n".join(lines) + "\n"


def _entry(chosen: Lesson, result: Result) -> str:
    rows = "; ".join(f"row {row}, {TOPICS[row].about}" for row in chosen.rows)
    parts = ", ".join(f"`{part}`" for part in chosen.parts)
    lines = [f"### {chosen.name}\n", f"**{chosen.title}** ({rows}; {chosen.lectures})\n", chosen.idea + "\n",
             "```", *chosen.equations, "```\n", f"In the library: {parts}.\n", "| number | expected |", "|---|---|"]
    lines += [f"| {_cell(check.name)} | {_cell(check.expected)} |" for check in result.checks]
    lines.append("")
    for name, caption in result.captions.items():
        lines.append(f"![{caption}](figures/{result.name}-{name}.png)\n\n*{caption}*\n")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
