"""What a model does to each raw column before the network sees it, in words."""

from typing import Any

from deltarule.data.preprocessing import Preprocessor


def treatments(preprocessor: Preprocessor) -> list[tuple[str, str, str]]:
    """(name, kind, what is done) for every raw column.

    >>> import polars as pl
    >>> treatments(Preprocessor.fit(pl.DataFrame({"mag": [1.0, None, 3.0], "band": ["V", "R", "V"]})))
    [('mag', 'number', '(mag - 2) / 1; missing: 2, and a flag'), ('band', 'category', "one of 2 categories ('R', 'V') or other")]
    """
    if preprocessor.form == "images":
        (column,) = preprocessor.columns
        centred = f"(value - {column.mean:.4g}) / {column.scale:.4g}"
        if not preprocessor.pictures:
            return [("all values", "number", centred)]
        height, width, channels = preprocessor.shape
        return [("size", "image", f"{height} x {width} (height x width), aspect kept, rest as its edge"),
                ("channels", "image", {1: "1, grey", 3: "3, colour"}.get(channels, str(channels))),
                ("raw values", "number", "bytes / 255, 16-bit integers / 65535, floats as they are"),
                ("all values", "number", centred)]
    if preprocessor.form == "sequences":
        time, *columns = preprocessor.columns
        return [(time.name, "number", f"(ln(1 + time / {time.fill:.4g}) - {time.mean:.4g}) / {time.scale:.4g}"),
                *((column.name, "number", f"(mean of the sequence - {column.mean:.4g}) / {column.scale:.4g}" if i % 2 else
                   f"(value - mean of the sequence) / {column.scale:.4g}") for i, column in enumerate(columns))]
    return [(column.name, column.kind, _treatment(column)) for column in preprocessor.columns]


def _treatment(column: Any) -> str:
    if column.kind == "category":
        names = ", ".join(map(repr, column.levels[:6])) + (", ..." if len(column.levels) > 6 else "")
        return f"one of {len(column.levels)} categories ({names}) or other"
    unit = {"boolean": "0 or 1", "date": f"(days since 1970 - {column.mean:.6g}) / {column.scale:.4g}"}
    value = unit.get(column.kind, f"({column.name} - {column.mean:.4g}) / {column.scale:.4g}")
    return f"{value}; missing: {column.fill:.4g}, and a flag" if column.flagged else value
