"""Architecture as data: frozen dataclasses to JSON and back, through a closed registry of names.

Nothing is ever imported or executed by name: what is not in the registry is refused.
"""

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from deltarule.errors import DeltaruleError

REGISTRY: dict[str, type] = {}

T = TypeVar("T", bound=type)


def register(cls: T) -> T:
    """Let `cls` (a frozen dataclass) be saved in a model file and found again when the file is loaded.

    Use it as a decorator above `@dataclass(frozen=True)`. Settings that the class does not have, or lacks, are then told in one line; what
    it says in `REFUSED` about one that others have is added. Raises DeltaruleError for anything but a frozen dataclass, and where another
    class already has the name.

    >>> import dataclasses, deltarule as dr
    >>> @dr.register
    ... @dataclasses.dataclass(frozen=True)
    ... class Doubled(dr.Layer):
    ...     factor: float = 2.0
    ...     def __call__(self, x, scope):
    ...         return self.factor * x
    >>> to_json(Doubled(3.0))
    {'class': 'Doubled', 'factor': 3.0}
    """
    if not (dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        raise DeltaruleError(f"register expected a frozen dataclass, received {cls.__name__}; "
                             "put @dataclass(frozen=True) below @register")
    known = REGISTRY.get(cls.__name__)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise DeltaruleError(f"the name {cls.__name__} is already registered by {known.__module__}; rename your class")
    REGISTRY[cls.__name__] = cls
    _tell_settings(cls)
    return cls


def _tell_settings(cls: type) -> None:
    """Where Python refuses the settings that `cls` is made with, say which and why."""
    made: Callable[..., None] = cls.__init__  # type: ignore[misc]

    @functools.wraps(made)
    def init(self: Any, *given: Any, **named: Any) -> None:
        try:
            made(self, *given, **named)
        except TypeError:
            if wrong := _misfit(cls, list(inspect.signature(made).parameters.values())[1:], len(given), named):
                raise DeltaruleError(wrong) from None
            raise

    cls.__init__ = init  # type: ignore[misc]


def _misfit(cls: type, settings: list[inspect.Parameter], given: int, named: Mapping[str, Any]) -> str:
    """What is wrong with so many settings by place and these by name; nothing where they fit."""
    names = [setting.name for setting in settings]
    needed = [setting.name for setting in settings if setting.default is inspect.Parameter.empty]
    for name in named:
        if name not in names:
            why = getattr(cls, "REFUSED", {}).get(name)
            return f"{cls.__name__} has no setting {name!r}{f'; {why}' if why else nearest(name, names)}"
        if name in names[:given]:
            return f"{cls.__name__} received {name!r} twice, by its place and by its name; give it once"
    if given > len(names):
        return f"{cls.__name__} expected at most {len(names)} values ({', '.join(names)}), received {given}; name those that you set"
    missing = [name for name in needed if name not in named and name not in names[:given]]
    return f"{cls.__name__} needs {' and '.join(missing)}; write {cls.__name__}({', '.join(needed)})" if missing else ""


def to_json(value: Any) -> Any:
    """The JSON form of a registered dataclass (class name and the fields that differ from their defaults).

    Tuples become lists. Raises DeltaruleError for a class that is not registered, naming the cure.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    name = type(value).__name__
    registered = REGISTRY.get(name) is type(value)
    if not registered:
        raise DeltaruleError(f"{name} is not registered, so a file that holds it could not be loaded again; "
                             f"decorate the class with @deltarule.register")
    changed = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)
               if field.init and not _is_default(field, getattr(value, field.name))}
    return {"class": name} | changed


def from_json(data: Any) -> Any:
    """The object that `to_json` described; lists come back as tuples.

    Raises DeltaruleError for an unknown class or field (the nearest known names are offered).

    >>> import deltarule as dr
    >>> from_json({"class": "Dense", "units": 30, "activation": "sigmoid"})
    Dense(units=30, activation='sigmoid')
    """
    if isinstance(data, list):
        return tuple(from_json(item) for item in data)
    if not isinstance(data, dict):
        return data
    if "class" not in data:
        return {key: from_json(item) for key, item in data.items()}
    name = data["class"]
    cls = REGISTRY.get(name) if isinstance(name, str) else None
    if cls is None:
        raise DeltaruleError(f"unknown class {name!r}{nearest(str(name), REGISTRY)}; "
                             "a class of your own must be registered (@deltarule.register) before its file is loaded")
    arguments = {key: from_json(item) for key, item in data.items() if key != "class"}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise DeltaruleError(f"{name} cannot be built from {sorted(arguments)}: {error}") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """"; did you mean 'sigmoid'?" when something close is known, else the known names (if they are few)."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=2, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(repr(name) for name in close) + "?"
    return f"; known: {', '.join(names)}" if len(names) <= 30 else ""


def short_repr(value: Any) -> str:
    """The code that rebuilds a dataclass, without the fields left at their defaults."""
    parts = [f"{field.name}={getattr(value, field.name)!r}" for field in dataclasses.fields(value)
             if field.init and field.repr and not _is_default(field, getattr(value, field.name))]
    return f"{type(value).__name__}({', '.join(parts)})"


def _is_default(field: "dataclasses.Field[Any]", value: Any) -> bool:
    if field.default is not dataclasses.MISSING:
        return type(value) is type(field.default) and bool(value == field.default)
    return field.default_factory is not dataclasses.MISSING and bool(value == field.default_factory())
