"""Folders of image files as data sets: sizes and channels unified, what is left out is named, every mistake told in one line."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_data_imagefiles import COLOUR, GREY, folder_of, png

import deltarule as dr
from deltarule.data import audit, images, read_image_files, read_images
from deltarule.data.imagefiles import in_size, look, read
from deltarule.errors import DataError, DeltaruleError, ShapeError

# ----------------------------------------------------------------------------------------------------------------- folders

def plain(root, n=4, shape=(5, 7), names=("cats", "dogs")):
    """A folder of n grey images for each class, no two equal."""
    rng = np.random.default_rng(8)
    return folder_of(root, **{name: {f"{i}.png": rng.integers(0, 256, shape).astype(np.uint8) for i in range(n)} for name in names})


def test_a_folder_becomes_a_data_set(tmp_path):
    found = read_images(plain(tmp_path / "pets", names=("dogs", "cats", "Birds")))
    assert found.x.shape == (12, 5, 7, 1)
    assert (found.x.dtype, found.y.dtype) == (np.float32, np.int32)
    assert found.class_names == ("Birds", "cats", "dogs")
    assert found.y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (found.name, found.target_name, found.problem, found.unit, found.notes) == ("pets", "class", "classification", "image", ())
    assert found.source == f"{tmp_path / 'pets'}: 3 class folders with 12 images (Birds 4, cats 4, dogs 4)"
    for row in (0, 5, 11):
        np.testing.assert_array_equal(found.x[row], read(tmp_path / "pets" / found.files[row]))
        assert found.files[row].split("/")[0] == found.class_names[found.y[row]]


def test_files_follow_their_rows_through_every_split(tmp_path):
    found = read_images(plain(tmp_path / "pets", n=10))
    train, test = found.split(test=0.3, seed=1)
    assert np.bincount(test.y).tolist() == [3, 3]
    assert sorted(train.files + test.files) == sorted(found.files)
    for part in (train, test, found.subset(np.arange(20) % 3 == 0), *found.kfold(4)[2]):
        assert len(part.files) == len(part)
        for image, file, k in zip(part.x, part.files, part.y, strict=True):
            np.testing.assert_array_equal(image, read(tmp_path / "pets" / file))
            assert file.startswith(found.class_names[k])
    with pytest.raises(ShapeError, match="pets: x holds 20 images and there are 1 file names; give one per image"):
        dr.data.Dataset(found.x, found.y, (), found.class_names, "class", "pets", "", files=("a",))
    with pytest.raises(ShapeError, match=r"pets: files name images, expected x of shape \(n, height, width, channels\), received \(1, 2\)"):
        dr.data.Dataset(np.zeros((1, 2)), np.zeros(1), (), None, "y", "pets", "", files=("a",))
    with pytest.raises(DataError, match="class 'cats' of target 'class' has a single image, so it cannot be both learnt and tested"):
        found.subset([0, 10, 11]).split()


def test_equal_sizes_are_kept_and_others_brought_to_the_median(tmp_path):
    flat = [np.full(size, 9, np.uint8) for size in ((9, 7), (7, 20))]
    mixed = folder_of(tmp_path / "mixed", a={"0.png": GREY, "1.png": flat[0]}, b={"0.png": flat[1]})
    found = read_images(mixed)
    assert found.x.shape == (3, 7, 7, 1)
    assert found.notes == ("sizes differ, from 5 x 7 to 7 x 20 (height x width); they are brought to 7 x 7, the median; aspects are kept, "
                           "and what is left gets the mean of the edge; size= chooses another",)
    np.testing.assert_allclose(found.x[1], 9 / 255, rtol=1e-6)
    np.testing.assert_array_equal(found.x[0], in_size(read(mixed / "a" / "0.png"), (7, 7)))
    small = read_images(mixed, longest=5)
    assert small.x.shape == (3, 5, 5, 1)
    assert "brought to 5 x 5, the median reduced; aspects are kept" in small.notes[0]
    chosen = read_images(mixed, size=(4, 6))
    assert chosen.x.shape == (3, 4, 6, 1)
    assert chosen.notes[0].startswith("3 images of another size brought to 4 x 6; aspects are kept")
    assert read_images(mixed, size=6).x.shape == (3, 6, 6, 1)
    equal = read_images(plain(tmp_path / "equal", shape=(6, 12)), longest=8)
    assert equal.x.shape == (8, 4, 8, 1)
    assert equal.notes == ("all images are 6 x 12; they are reduced to 4 x 8; size= chooses another",)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=2, max_size=7), st.sampled_from([1, 3]))
def test_sizes_and_channels_of_any_folder(tmp_path_factory, sizes, channels):
    root = tmp_path_factory.mktemp("any")
    rng = np.random.default_rng(len(sizes))
    made = [rng.integers(0, 256, size if channels == 1 else (*size, 3)).astype(np.uint8) for size in sizes]
    folder_of(root, a={"0.png": made[0]}, b={f"{i}.png": image for i, image in enumerate(made[1:])})
    found = read_images(root)
    height, width = (round(float(np.median(side))) for side in zip(*sizes, strict=True))
    assert found.x.shape == (len(sizes), height, width, channels)
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    assert read_images(root, channels=4 - channels).x.shape == (len(sizes), height, width, 4 - channels)


def test_grey_and_colour_are_not_mixed_unless_it_is_said_how(tmp_path):
    mixed = folder_of(tmp_path / "mixed", a={"0.png": GREY, "1.png": COLOUR}, b={"0.png": GREY})
    with pytest.raises(DataError, match=r"the images of .*mixed have different channels: 2 of 1 channel \(such as a/0\.png\) and 1 of "
                                        r"3 channels \(such as a/1\.png\); choose channels=1 or channels=3 for all"):
        read_images(mixed)
    grey, colour = read_images(mixed, channels=1), read_images(mixed, channels=3)
    assert (grey.x.shape, colour.x.shape) == ((3, 5, 7, 1), (3, 5, 7, 3))
    assert (grey.notes, colour.notes) == (("1 image turned into grey",), ("2 images turned into colour",))
    np.testing.assert_array_equal(colour.x[1], COLOUR.astype(np.float32) / 255)
    np.save(tmp_path / "mixed" / "a" / "bands.npy", np.zeros((5, 7, 5)))
    with pytest.raises(DataError, match=r"and 1 of 5 channels .*; expected the same number in all"):
        read_images(mixed)
    with pytest.raises(DataError, match=r"cannot be brought to 3 channels: .*; only grey .1. and colour .3. are turned into each other"):
        read_images(mixed, channels=3)
    with pytest.raises(DataError, match=r"cannot be brought to 5 channels"):
        read_images(mixed, channels=5)


@pytest.mark.parametrize(("options", "expected"), [
    ({"size": 0}, r"size expected a whole number or \(height, width\) from 1 on, received 0"),
    ({"size": (4, 5, 6)}, r"size expected .* received \(4, 5, 6\)"),
    ({"size": "64"}, r"size expected .* received '64'"),
    ({"size": True}, r"size expected .* received True"),
    ({"channels": 0}, r"channels expected 1 \(grey\) or 3 \(colour\), received 0"),
    ({"channels": "grey"}, r"channels expected 1 \(grey\) or 3 \(colour\), received 'grey'"),
])
def test_options_out_of_range(options, expected, tmp_path):
    with pytest.raises(DataError, match=expected):
        read_images(plain(tmp_path / "pets"), **options)


def test_files_that_cannot_be_read_are_left_out_and_named(tmp_path):
    root = plain(tmp_path / "pets", n=2)
    (root / "cats" / "bad.png").write_bytes(png(7, 5, b"\0"))
    (root / "dogs" / "empty.jpg").write_bytes(b"")
    np.save(root / "dogs" / "nan.npy", np.full((5, 7), np.nan))
    with pytest.warns(UserWarning, match=r"3 files left out: dogs/empty\.jpg: it is damaged, or no PNG, JPEG or TIFF; cats/bad\.png: it is "
                                         r"damaged: image file is truncated .*; dogs/nan\.npy: it holds 35 values that are not finite"):
        found = read_images(root)
    assert found.files == ("cats/0.png", "cats/1.png", "dogs/0.png", "dogs/1.png")
    assert found.y.tolist() == [0, 0, 1, 1]
    assert found.notes[0].startswith("3 files left out: ")
    for i in range(9):
        (root / "cats" / f"bad{i}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"12 files left out: .*; and 7 more"):
        read_images(root)


def test_odd_names_stay_on_one_line(tmp_path):
    root = plain(tmp_path / "pets", n=2)
    (root / "cats" / "two\nlines.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 file left out: 'cats/two\\nlines\.png': it is damaged"):
        read_images(root)


def test_a_class_or_a_folder_of_which_nothing_can_be_read(tmp_path):
    root = plain(tmp_path / "pets", n=2)
    for path in (root / "dogs").iterdir():
        path.write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=r"the class folder .*dogs can be read: dogs/0\.png: it is damaged, or no PNG"):
            read_images(root)
    for path in (root / "cats").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no image of .*pets can be read: cats/0\.png: it is damaged, or no PNG, JPEG or TIFF; cats/1\."):
        read_images(root)


def test_other_files_are_counted_and_hidden_ones_ignored(tmp_path):
    root = plain(tmp_path / "pets", n=2)
    for name in ("cats/notes.txt", "cats/more.txt", "dogs/Makefile", "list.csv", ".hidden", "cats/.DS_Store"):
        (root / name).write_text("x")
    Image.fromarray(GREY).save(root / "loose.png")
    (root / ".git").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "dogs" / "old").mkdir()
    found = read_images(root)
    assert len(found) == 4
    assert found.notes == ("1 image beside the class folders left out (first: loose.png)",
                           "1 folder inside class folders left out (first: dogs/old)",
                           "4 files of other kinds left out: 2 .txt, 1 .csv, 1 without ending")


def test_pages_and_transparency_are_noted(tmp_path):
    root = plain(tmp_path / "pets", n=1)
    Image.fromarray(GREY).save(root / "cats" / "pages.tif", save_all=True, append_images=[Image.fromarray(GREY)])
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(GREY)]).save(root / "dogs" / "glass.png")
    assert read_images(root).notes == ("1 image with several pages, of which the first is read (first: cats/pages.tif)",
                                       "1 image with transparency, laid over white (first: dogs/glass.png)")


@pytest.mark.parametrize(("make", "expected"), [
    (lambda root: None, r"cannot read .*pets: it does not exist"),
    (lambda root: root.write_text("x"), r"pets is a file, expected a folder with one folder of images for each class"),
    (lambda root: root.mkdir(), r"pets holds nothing; expected one folder of images for each class"),
    (lambda root: (root.mkdir(), (root / "a.txt").write_text("x")), r"pets holds 1 file but no folders; expected one folder of images"),
    (lambda root: (root.mkdir(), Image.fromarray(GREY).save(root / "a.png")),
     r"pets holds 1 image but no folders; expected one folder of images for each class, such as cats and dogs"),
    (lambda root: plain(root, names=("cats",)), r"pets holds one class folder only, 'cats'; expected one folder of images"),
    (lambda root: (plain(root), (root / "birds").mkdir()),
     r"the class folder .*birds is empty: it holds nothing; add images \(\.png, .*\)"),
    (lambda root: folder_of(root, cats={"a.png": GREY}, dogs={"a.txt": b"x", "b.gif": b"x"}),
     r"the class folder .*dogs is empty: it holds only 2 other files; add images"),
    (lambda root: (plain(root / "train"), plain(root / "test")),
     r"pets/test holds no images but folders \(cats, dogs\); if these are the classes, give .*pets/test itself"),
])
def test_folders_that_cannot_be_learnt_from(make, expected, tmp_path):
    make(tmp_path / "pets")
    with pytest.raises(DataError, match=expected) as caught:
        read_images(tmp_path / "pets")
    assert "\n" not in str(caught.value)


def test_memory_is_bounded_before_anything_is_read(tmp_path, monkeypatch):
    root = folder_of(tmp_path / "big", a={"0.png": png(9000, 9000)}, b={f"{i}.png": png(9000, 9000) for i in range(19)})
    with pytest.raises(DataError, match=r"the 20 images of .*big take 6 GiB at 9000 x 9000 and 1 channel, more than the 2 GiB allowed; "
                                        r"choose a smaller size, such as size=128"):
        read_images(root)
    monkeypatch.setattr(images, "MOST_BYTES", 10)
    with pytest.raises(DataError, match="more than the 0 GiB allowed; take fewer images"):
        read_images(plain(tmp_path / "pets"))


@pytest.mark.parametrize(("width", "height", "size"), [(15000, 10000, "10,000 x 15,000"), (60000, 60000, "too many")])
def test_an_image_that_claims_too_many_pixels_is_refused(width, height, size, tmp_path):
    root = folder_of(tmp_path / "bomb", a={"0.png": GREY, "bomb.png": png(width, height)}, b={"0.png": GREY})
    with pytest.raises(DeltaruleError, match=rf"bomb\.png has {size} pixels, more than the 100,000,000 allowed for one image; make it "
                                             "smaller or take it out"):
        read_images(root)
    np.save(tmp_path / "wide.npy", np.broadcast_to(np.uint8(0), (20000, 6000)))
    with pytest.raises(DeltaruleError, match=r"wide\.npy has 20,000 x 6,000 pixels"):
        look(tmp_path / "wide.npy")


def test_a_second_folder_gets_the_classes_of_the_first(tmp_path):
    train = read_images(plain(tmp_path / "train", names=("birds", "cats", "dogs")))
    test = read_images(plain(tmp_path / "test", names=("dogs",)), classes=train.class_names)
    assert test.class_names == train.class_names
    assert test.y.tolist() == [2, 2, 2, 2]
    with pytest.raises(DataError, match="other holds the class folder 'dosg', which the model does not know; did you mean 'dogs'"):
        read_images(plain(tmp_path / "other", names=("cats", "dosg")), classes=train.class_names)


def test_files_without_classes(tmp_path):
    root = plain(tmp_path / "pets", n=2)
    (root / "cats" / "bad.png").write_bytes(b"")
    found = read_image_files([root, root / "dogs" / "0.png"], size=4, channels=3)
    assert found.x.shape == (4, 4, 4, 3)
    assert found.files == tuple(str(root / name) for name in ("cats/0.png", "cats/1.png", "dogs/0.png", "dogs/1.png"))
    assert found.left_out == (f"{root / 'cats' / 'bad.png'}: it is damaged, or no PNG, JPEG or TIFF",)
    assert found.notes[0].startswith("4 images of another size brought to 4 x 4")
    np.testing.assert_array_equal(read_image_files(root / "dogs" / "0.png").x[0], read(root / "dogs" / "0.png"))
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for paths, expected in ((tmp_path / "none.png", r"none\.png: it does not exist"),
                            (tmp_path / "a.txt", r"a\.txt is no image file; expected"),
                            (tmp_path / "empty", r"empty holds no image; expected \.png"), ([], "the list of paths holds no image"),
                            (root / "cats" / "bad.png", r"no image of these files can be read: .*bad\.png: it is damaged")):
        with pytest.raises(DataError, match=expected):
            read_image_files(paths)


def test_audit_of_images_speaks_of_images_and_looks_at_no_single_pixel(tmp_path):
    root = plain(tmp_path / "pets", n=12)
    for i in range(12):
        Image.open(root / "cats" / "0.png").save(root / "cats" / f"again{i}.png")
    findings = audit(*read_images(root).split())
    assert [finding.title for finding in findings][:1] == ["test images that were trained on"]
    assert "test images" in findings[0].evidence
    assert "have exactly the values of a training image" in findings[0].evidence
    assert not {"constant columns", "equal columns", "a column gives the target away"} & {finding.title for finding in findings}
    few = audit(*read_images(plain(tmp_path / "few", n=5)).split())
    assert few[0].evidence == "fewer than 10 training images: 'cats' (4), 'dogs' (4)"
