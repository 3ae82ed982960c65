"""A folder of images becomes a `Dataset`: one sub-folder for each class, every oddity a line of its own.

    photos/cats/one.png     photos/cats/two.jpg     photos/dogs/one.png

All images get one size and one number of channels, because a network takes nothing else:

- sizes that are all equal are kept; otherwise every image is brought to the median height and width, its aspect kept, and what is left
  gets the mean of its edge (`size` chooses another size, and `longest` bounds the automatic one);
- grey and colour images are not mixed, since a network could tell classes by it: `channels` 1 or 3 turns all into grey or colour.

A file that cannot be read is left out and named; files that are no images are counted. How values are read: `imagefiles`.
"""

import dataclasses
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from deltarule.data import imagefiles
from deltarule.data.dataset import Dataset
from deltarule.data.imagefiles import ENDINGS, Look
from deltarule.errors import DataError
from deltarule.files import StrPath, shown
from deltarule.spec import nearest

MOST_BYTES = 2**31      # of all images of a data set together
USUAL = 128             # pixels of a side that serve most networks
LISTED = 5              # files that are named in a note
FILLED = "; aspects are kept, and what is left gets the mean of the edge"


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Images without classes: x `(n, height, width, channels)` float32, the `files` they were read from, what was `left_out`, `notes`."""

    x: np.ndarray
    files: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def read_images(folder: StrPath, size: int | tuple[int, int] | None = None, channels: int | None = None, *, longest: int | None = None,
                classes: Sequence[str] | None = None) -> Dataset:
    """The data set in a folder that has one sub-folder of images for each class; x is `(n, height, width, channels)`, float32.

    Class names are the names of the sub-folders, sorted; `files` of the result tells which file a row is. Read are PNG, JPEG, TIFF, NPY
    and, with `pip install 'deltarule[fits]'`, FITS. Bytes and 16-bit integers come out in 0 ... 1, floats as they are. `size` is the
    height and width of all images (one number: square), None keeps equal sizes and otherwise takes the median ones, reduced so that no
    side is larger than `longest`; `channels` 1 or 3 turns all into grey or colour. With `classes`, the names a model knows, only these
    may occur, and they get the same indices. Hidden files are ignored.
    Warns of files that cannot be read, naming them. Raises DataError for a folder that is missing, without sub-folders, with one class
    only or an empty one, for grey and colour images mixed, for images of different numbers of channels, and for more than 2 GiB.

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "photos"
    >>> for name, grey in (("day", 200), ("night", 10)):
    ...     (folder / name).mkdir(parents=True)
    ...     Image.new("L", (7, 5), grey).save(folder / name / "one.png")
    >>> photos = read_images(folder)
    >>> photos.x.shape, photos.class_names, photos.files
    ((2, 5, 7, 1), ('day', 'night'), ('day/one.png', 'night/one.png'))
    """
    root = Path(_existing(folder))
    names, members, ignored, notes = _classes(root, classes)
    paths = [path for name in names for path in members[name]]
    found = _read(root, shown(folder), paths, _size(size), _channels(channels), longest)
    if ignored:
        endings = ", ".join(f"{count:,} {ending or 'without ending'}" for ending, count in ignored.most_common(LISTED))
        notes.append(f"{_count(sum(ignored.values()), 'file')} of other kinds left out: {endings}")
    if found.left_out:
        warnings.warn(f"{shown(folder)}: {_left_out(found.left_out)}", stacklevel=2)
    owner = [file.split("/")[0] for file in found.files]
    counts = Counter(owner)
    for name in names:
        if not counts[name]:
            raise DataError(f"no image of the class folder {shown(root / name)} can be read: {_listed(found.left_out, name + '/')}")
    index = {name: i for i, name in enumerate(classes or names)}
    y = np.array([index[name] for name in owner], np.int32)
    many = ", ".join(f"{name} {counts[name]:,}" for name in names[:12]) + (", ..." if len(names) > 12 else "")
    source = f"{shown(folder)}: {_count(len(names), 'class folder')} with {_count(len(y), 'image')} ({many})"
    return Dataset(found.x, y, (), tuple(classes or names), "class", root.resolve().name, source, (*found.notes, *notes), files=found.files)


def read_image_files(paths: StrPath | Iterable[StrPath], size: int | tuple[int, int] | None = None,
                     channels: int | None = None) -> Images:
    """Images without classes, for prediction: files, or folders with all images in and below them, sorted by name.

    `size` and `channels` as in `read_images`: give those that the model was trained with. Files that cannot be read are left out
    and named in `left_out`. Raises DataError where a path does not exist, is no image, or nothing can be read.

    >>> read_image_files("nowhere.png")
    Traceback (most recent call last):
        ...
    deltarule.errors.DataError: cannot read nowhere.png: it does not exist
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if _is_image(file) and not _hidden(file.relative_to(path)))
        elif not path.exists():
            raise DataError(f"cannot read {shown(path)}: it does not exist")
        elif path.suffix.lower() not in ENDINGS:
            raise DataError(f"{shown(path)} is no image file; expected {', '.join(ENDINGS)}")
        else:
            files.append(path)
    if not files:
        raise DataError(f"{', '.join(shown(path) for path in given) or 'the list of paths'} holds no image; expected {', '.join(ENDINGS)}")
    return _read(None, "these files", files, _size(size), _channels(channels), None)


# ------------------------------------------------------------------------------------------------------------- the folder

def _existing(folder: StrPath) -> StrPath:
    path = Path(folder)
    if not path.exists():
        raise DataError(f"cannot read {shown(folder)}: it does not exist")
    if not path.is_dir():
        raise DataError(f"{shown(folder)} is a file, expected a folder with one folder of images for each class")
    return folder


def _classes(root: Path, known: Sequence[str] | None) -> tuple[list[str], dict[str, list[Path]], Counter[str], list[str]]:
    """Class names, the image files of each, other files counted by their ending, and notes."""
    entries = sorted(entry for entry in root.iterdir() if not _hidden(entry.relative_to(root)))
    folders, loose = [entry for entry in entries if entry.is_dir()], [entry for entry in entries if not entry.is_dir()]
    ignored = Counter(entry.suffix.lower() for entry in loose if not _is_image(entry))
    images = [entry for entry in loose if _is_image(entry)]
    wanted = "expected one folder of images for each class, such as cats and dogs"
    if not folders:
        held = f"{_count(len(images), 'image') if images else _count(len(loose), 'file')} but no folders" if loose else "nothing"
        raise DataError(f"{shown(root)} holds {held}; {wanted}")
    notes = [f"{_count(len(images), 'image')} beside the class folders left out (first: {shown(images[0].name)})"] if images else []
    members, deeper = {}, []
    for folder in folders:
        inside = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        members[folder.name] = [entry for entry in inside if _is_image(entry)]
        below = [entry for entry in inside if entry.is_dir()]
        ignored += Counter(entry.suffix.lower() for entry in inside if not _is_image(entry) and not entry.is_dir())
        if not members[folder.name]:
            _refuse_empty(folder, below, inside)
        deeper += below
    if deeper:
        first = shown(deeper[0].relative_to(root).as_posix())
        notes.append(f"{_count(len(deeper), 'folder')} inside class folders left out (first: {first})")
    names = list(members)
    if known is None and len(names) == 1:
        raise DataError(f"{shown(root)} holds one class folder only, {names[0]!r}; {wanted}")
    for name in names if known is not None else ():
        if name not in (known or ()):
            raise DataError(f"{shown(root)} holds the class folder {name!r}, which the model does not know{nearest(name, known or ())}")
    return names, members, ignored, notes


def _refuse_empty(folder: Path, below: list[Path], inside: list[Path]) -> None:
    if below:
        raise DataError(f"{shown(folder)} holds no images but folders ({', '.join(path.name for path in below[:3])}"
                        f"{', ...' if len(below) > 3 else ''}); if these are the classes, give {shown(folder)} itself")
    held = f"only {_count(len(inside), 'other file')}" if inside else "nothing"
    raise DataError(f"the class folder {shown(folder)} is empty: it holds {held}; add images ({', '.join(ENDINGS)}) or remove the folder")


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and path.is_file()


# ------------------------------------------------------------------------------------------------------------- the images

def _read(root: Path | None, what: str, paths: list[Path], size: tuple[int, int] | None, channels: int | None,
          longest: int | None) -> Images:
    """All images in one array; files are named relative to `root` where there is one."""
    left_out: list[str] = []
    seen: dict[str, tuple[Path, Look]] = {}
    for path in paths:
        name = path.relative_to(root).as_posix() if root else str(path)
        try:
            seen[name] = path, imagefiles.look(path)
        except DataError as error:
            left_out.append(f"{shown(name)}: {error}")
    if not seen:
        raise DataError(f"no image of {what} can be read: {_listed(left_out)}")
    looks = {name: seen_look for name, (_, seen_look) in seen.items()}
    depth = _common_channels(what, looks, channels)
    common, notes = _common_size(looks, size, longest)
    changed = sum(look.channels != depth for look in looks.values())
    notes += [f"{_count(changed, 'image')} turned into {'grey' if depth == 1 else 'colour'}"] if changed else []
    _check_memory(what, len(seen), common, depth)
    x = np.empty((len(seen), *common, depth), np.float32)
    files: list[str] = []
    for name, (path, _) in seen.items():
        try:
            image = imagefiles.read(path)
        except DataError as error:
            left_out.append(f"{shown(name)}: {error}")
            continue
        x[len(files)] = imagefiles.in_size(imagefiles.in_channels(image, depth), common)
        files.append(name)
    if not files:
        raise DataError(f"no image of {what} can be read: {_listed(left_out)}")
    notes += [note for note in (_remarked(looks, "pages", "with several pages, of which the first is read"),
                                _remarked(looks, "transparent", "with transparency, laid over white")) if note]
    notes += [_left_out(left_out)] if left_out else []
    return Images(x[:len(files)], tuple(files), tuple(left_out), tuple(notes))


def _common_channels(what: str, looks: dict[str, Look], channels: int | None) -> int:
    """The number of channels of all images. Raises DataError where they differ and nothing says which is wanted."""
    first = {look.channels: name for name, look in reversed(looks.items())}     # of each number of channels the first file
    counts = Counter(look.channels for look in looks.values())
    if channels is None and len(counts) == 1:
        return next(iter(counts))
    told = " and ".join(f"{counts[n]} of {_count(n, 'channel')} (such as {shown(first[n])})" for n in sorted(counts))
    if channels is None:
        cure = "choose channels=1 or channels=3 for all" if set(counts) == {1, 3} else "expected the same number in all"
        raise DataError(f"the images of {what} have different channels: {told}; {cure}")
    if not set(counts) <= {1, 3, channels} or (channels not in (1, 3) and set(counts) != {channels}):
        raise DataError(f"the images of {what} cannot be brought to {_count(channels, 'channel')}: {told}; "
                        f"only grey (1) and colour (3) are turned into each other")
    return channels


def _common_size(looks: dict[str, Look], size: tuple[int, int] | None, longest: int | None) -> tuple[tuple[int, int], list[str]]:
    """Height and width of all images, and the note that says how they came about."""
    if size is not None:
        others = sum((look.height, look.width) != size for look in looks.values())
        return size, [f"{_count(others, 'image')} of another size brought to {_by(size)}{FILLED}"] if others else []
    sizes = np.array([(look.height, look.width) for look in looks.values()])
    equal = bool((sizes == sizes[0]).all())
    middle = sizes[0] if equal else np.median(sizes, axis=0)
    shrink = min(1.0, longest / middle.max()) if longest else 1.0
    height, width = (max(1, round(float(side) * shrink)) for side in middle)
    if equal and shrink == 1.0:
        return (height, width), []
    low, high = (_by(sizes[i]) for i in (sizes.prod(axis=1).argmin(), sizes.prod(axis=1).argmax()))
    what = f"all images are {low}" if equal else f"sizes differ, from {low} to {high} (height x width)"
    aim = f"reduced to {height} x {width}" if equal else f"brought to {height} x {width}, the median{' reduced' if shrink < 1 else ''}"
    return (height, width), [f"{what}; they are {aim}{'' if equal else FILLED}; size= chooses another"]


def _check_memory(what: str, n: int, size: tuple[int, int], channels: int) -> None:
    bytes_needed = 4 * n * channels * size[0] * size[1]
    if bytes_needed > MOST_BYTES:
        side = int((MOST_BYTES / (4 * n * channels)) ** 0.5)
        cure = f"choose a smaller size, such as size={min(side, USUAL)}" if side else "take fewer images"
        raise DataError(f"the {n:,} images of {what} take {bytes_needed / 2**30:,.0f} GiB at {_by(size)} and {_count(channels, 'channel')}"
                        f", more than the {MOST_BYTES / 2**30:.0f} GiB allowed; {cure}")


def _size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """The size as (height, width). Raises DataError for anything but whole numbers from 1 on."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) and not isinstance(size, bool) else size
    if not (isinstance(sides, (tuple, list)) and len(sides) == 2 and all(type(side) is int and side >= 1 for side in sides)):
        raise DataError(f"size expected a whole number or (height, width) from 1 on, received {size!r}")
    return sides[0], sides[1]


def _channels(channels: int | None) -> int | None:
    if channels is not None and (type(channels) is not int or not 1 <= channels <= imagefiles.MOST_CHANNELS):
        raise DataError(f"channels expected 1 (grey) or 3 (colour), received {channels!r}")
    return channels


# ------------------------------------------------------------------------------------------------------------- words

def _left_out(left_out: Sequence[str]) -> str:
    return f"{_count(len(left_out), 'file')} left out: {_listed(left_out)}"


def _listed(left_out: Sequence[str], beginning: str = "") -> str:
    chosen = [text for text in left_out if text.lstrip("'").startswith(beginning)]
    return "; ".join(chosen[:LISTED]) + (f"; and {len(chosen) - LISTED} more" if len(chosen) > LISTED else "")


def _remarked(looks: dict[str, Look], remark: str, what: str) -> str:
    names = [name for name, look in looks.items() if look.remark == remark]
    return f"{_count(len(names), 'image')} {what} (first: {shown(names[0])})" if names else ""


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _by(size: Sequence[int] | np.ndarray) -> str:
    return f"{int(size[0])} x {int(size[1])}"
