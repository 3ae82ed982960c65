"""Single image files: what is written is read, every kind of file by its rule, brought to a size and to channels."""

import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deltarule.data import read_images
from deltarule.data.imagefiles import in_channels, in_size, look, read
from deltarule.errors import DataError, DeltaruleError

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (5, 7)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)


def folder_of(root, **classes):
    """A folder with one sub-folder for each class; its files are given as arrays (written as PNG) or bytes, by name."""
    for name, files in classes.items():
        (root / name).mkdir(parents=True)
        for file, content in files.items():
            if isinstance(content, bytes):
                (root / name / file).write_bytes(content)
            else:
                Image.fromarray(content).save(root / name / file)
    return root


def reason(path):
    """Why a file cannot be read, told after its name."""
    with pytest.raises(DataError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def seen(path):
    """The image in a file, whose head must tell its shape."""
    image, head = read(path), look(path)
    assert image.dtype == np.float32
    assert image.shape == (head.height, head.width, head.channels)
    return image


# ------------------------------------------------------------------------------------------------------------- one file

@pytest.mark.parametrize("ending", ["png", "tif", "tiff", "PNG"])
@pytest.mark.parametrize(("array", "largest"), [(GREY, 255), (COLOUR, 255), (DEEP, 65535)])
def test_what_is_written_without_loss_is_read_equal(array, largest, ending, tmp_path):
    Image.fromarray(array).save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(seen(tmp_path / f"a.{ending}"), np.atleast_3d(array).astype(np.float32) / np.float32(largest))


@pytest.mark.parametrize(("array", "expected"), [
    (GREY, GREY / 255), (COLOUR, COLOUR / 255), (DEEP, DEEP / 65535), (GREY > 99, GREY > 99), (GREY[..., None], GREY / 255),
    (GREY - 100.5, GREY - 100.5), ((GREY - 100.5).astype(np.float16), GREY - 100.5), (GREY.astype(">f8"), GREY),
    (np.asfortranarray(COLOUR), COLOUR / 255), (np.dstack([GREY] * 5), np.dstack([GREY] * 5) / 255),
])
def test_arrays_are_scaled_by_their_type_and_floats_stay(array, expected, tmp_path):
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_allclose(seen(tmp_path / "a.npy"), np.atleast_3d(expected).astype(np.float32), rtol=1e-6)


def test_jpeg_is_near(tmp_path):
    rows, columns = np.mgrid[:32, :48]
    smooth = np.dstack([4 * rows, 3 * columns, 2 * (rows + columns)]).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(seen(tmp_path / "a.jpg"), smooth / 255, atol=0.03)
    Image.fromarray(smooth[..., 0]).save(tmp_path / "a.jpeg", quality=95)
    np.testing.assert_allclose(seen(tmp_path / "a.jpeg")[..., 0], smooth[..., 0] / 255, atol=0.03)


# What an EXIF orientation says about the stored image: how to turn it upright (EXIF 2.3, tag 0x0112).
UPRIGHT = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: np.swapaxes(a, 0, 1),
           6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2), 8: np.rot90}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("ending", "array"), [("png", COLOUR), ("tif", COLOUR), ("tif", DEEP), ("tif", GREY)])
def test_photos_are_turned_upright(orientation, ending, array, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(tmp_path / f"a.{ending}", exif=exif)
    expected = np.atleast_3d(UPRIGHT[orientation](array)) / float(np.iinfo(array.dtype).max)
    np.testing.assert_allclose(read(tmp_path / f"a.{ending}"), expected, rtol=1e-6)
    head = look(tmp_path / f"a.{ending}")
    if ending == "tif":     # the tag of a PNG may stand behind its pixels, so its head shows the stored size
        assert (head.height, head.width) == expected.shape[:2]


def test_jpeg_is_turned_upright(tmp_path):
    half = np.zeros((32, 16), np.uint8)
    half[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(half).save(tmp_path / "a.jpg", exif=exif)
    np.testing.assert_allclose(seen(tmp_path / "a.jpg")[..., 0], np.rot90(half, -1) / 255, atol=0.05)


def test_palettes_transparency_and_other_modes(tmp_path):
    alpha = RNG.integers(0, 256, (5, 7)).astype(np.uint8)
    over_white = (alpha[..., None] * COLOUR.astype(float) + (255.0 - alpha[..., None]) * 255) / 255**2
    Image.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "rgba.png")
    np.testing.assert_allclose(seen(tmp_path / "rgba.png"), over_white, atol=1.01 / 255)
    assert look(tmp_path / "rgba.png").remark == "transparent"
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]).save(tmp_path / "la.png")
    grey_over_white = (alpha * GREY.astype(float) + (255.0 - alpha) * 255) / 255**2
    np.testing.assert_allclose(seen(tmp_path / "la.png")[..., 0], grey_over_white, atol=1.01 / 255)
    few = (COLOUR // 128) * 255
    palette = Image.fromarray(few).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(seen(tmp_path / "p.png"), few.astype(np.float32) / 255)
    palette.save(tmp_path / "hole.png", transparency=palette.getpixel((0, 0)))
    np.testing.assert_array_equal(read(tmp_path / "hole.png")[0, 0], 1.0)       # see-through, over white
    Image.fromarray(GREY > 99).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(seen(tmp_path / "bits.png")[..., 0], GREY > 99)
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "cmyk.tif")
    np.testing.assert_allclose(seen(tmp_path / "cmyk.tif"), COLOUR / 255, atol=2 / 255)


def test_tiff_of_floats_big_endian_and_of_several_pages(tmp_path):
    values = RNG.normal(1000, 50, (5, 7)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "float.tif")
    np.testing.assert_array_equal(seen(tmp_path / "float.tif")[..., 0], values)
    (tmp_path / "big.tif").write_bytes(big_endian_tiff(DEEP))
    np.testing.assert_array_equal(seen(tmp_path / "big.tif")[..., 0], DEEP.astype(np.float32) / 65535)
    Image.fromarray(GREY).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(255 - GREY)] * 2)
    np.testing.assert_array_equal(seen(tmp_path / "pages.tif")[..., 0], GREY.astype(np.float32) / 255)
    assert look(tmp_path / "pages.tif").remark == "pages"
    Image.fromarray(GREY.astype(np.int32)).save(tmp_path / "long.tif")
    assert reason(tmp_path / "long.tif") == ("it holds signed or 32-bit integers, whose range is unknown; save it with 16 bits, "
                                             "or as floats in a .npy file")


def big_endian_tiff(array):
    """A TIFF file of 16-bit grey values, written by the specification (TIFF 6.0) in Motorola order."""
    height, width = array.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, height),
            (279, 4, array.nbytes)]
    entries = b"".join(struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
                       for tag, kind, value in tags)
    pixels = array.astype(">u2").tobytes()
    return b"MM\0*" + struct.pack(">I", 8 + len(pixels)) + pixels + struct.pack(">H", len(tags)) + entries + bytes(4)


def test_fits_values_are_measurements(tmp_path):
    from astropy.io import fits

    counts = RNG.integers(-50, 30000, (5, 7)).astype(np.int16)
    fits.PrimaryHDU(counts).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(seen(tmp_path / "a.fits")[..., 0], counts)
    cube = RNG.normal(size=(3, 5, 7))
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(cube)]).writeto(tmp_path / "cube.fit")
    np.testing.assert_allclose(seen(tmp_path / "cube.fit"), np.moveaxis(cube, 0, -1), rtol=1e-6)
    fits.PrimaryHDU(DEEP).writeto(tmp_path / "unsigned.fts")
    np.testing.assert_array_equal(seen(tmp_path / "unsigned.fts")[..., 0], DEEP)
    fits.PrimaryHDU(np.zeros(7)).writeto(tmp_path / "line.fits")
    assert reason(tmp_path / "line.fits") == "it holds no image of two axes, or of three with the planes first"
    fits.PrimaryHDU(np.full((2, 2), np.nan)).writeto(tmp_path / "blank.fits")
    assert reason(tmp_path / "blank.fits") == "it holds 4 values that are not finite (first: nan at (0, 0, 0))"
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:2900])
    assert reason(tmp_path / "cut.fits").startswith("it is damaged: ")
    (tmp_path / "no.fits").write_bytes(b"no FITS")
    assert reason(tmp_path / "no.fits").startswith("it is damaged: ")


def test_fits_without_astropy_is_refused_with_the_cure(tmp_path, monkeypatch):
    folder_of(tmp_path / "sky", stars={"a.fits": b""}, galaxies={"a.fits": b""})
    monkeypatch.setitem(sys.modules, "astropy", None)
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(DeltaruleError, match=r"a\.fits is a FITS file, which needs astropy to be read; pip install 'deltarule\[fits\]'"):
        read_images(tmp_path / "sky")


def png(width, height, data=b""):
    """A PNG of grey bytes that claims a size and holds `data`."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


@pytest.mark.parametrize(("name", "content", "expected"), [
    ("a.png", b"", "it is damaged, or no PNG, JPEG or TIFF"),
    ("a.jpg", b"GIF89a" + bytes(50), "it is damaged, or no PNG, JPEG or TIFF"),
    ("a.png", png(7, 5, b"\0\1\2"), "it is damaged: image file is truncated"),
    ("a.npy", b"no array", "it is damaged: the magic string is not correct"),
    ("a.npy", b"", "it is damaged: EOF"),
])
def test_damaged_files(name, content, expected, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert expected in reason(tmp_path / name)


@pytest.mark.parametrize(("array", "expected"), [
    (np.array([[{}]]), "it holds Python objects, which could run code; expected numbers"),
    (GREY.astype(np.int64), "it holds int64, expected uint8, uint16 or floats: the range of an image in int64 is unknown"),
    (GREY.astype(np.uint32), "it holds uint32, expected uint8, uint16 or floats"),
    (GREY.astype(complex), "it holds complex128, expected uint8, uint16 or floats"),
    (np.array([["a"]]), "it holds <U1, expected uint8, uint16 or floats"),
    (np.zeros(7), "it has shape (7,), expected (height, width) or (height, width, channels)"),
    (np.zeros((2, 5, 7, 3)), "it has shape (2, 5, 7, 3), expected (height, width) or (height, width, channels)"),
    (np.zeros((3, 64, 64)), "it has shape (3, 64, 64): 64 channels, expected at most 8; channels stand last, write "
                            "np.moveaxis(image, 0, -1) where they stand first"),
    (np.array([[1.0, np.inf]]), "it holds 1 value that is not finite (first: inf at (0, 1, 0))"),
    (np.array([[1e300]]), "not finite"),
])
def test_arrays_that_are_no_images(array, expected, tmp_path):
    np.save(tmp_path / "a.npy", array)
    assert expected in reason(tmp_path / "a.npy")


def test_truncated_jpeg_and_array(tmp_path):
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    assert "it is damaged: image file is truncated" in reason(tmp_path / "cut.jpg")
    np.save(tmp_path / "whole.npy", np.zeros((20, 30)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-8])
    assert "it is damaged: " in reason(tmp_path / "cut.npy")


# ------------------------------------------------------------------------------------------------------ size and channels

@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_any_size_becomes_the_wanted_one_with_its_aspect(height, width, new_height, new_width, channels):
    rng = np.random.default_rng(height + 41 * width)
    level = rng.normal(size=channels).astype(np.float32)
    flat = in_size(np.broadcast_to(level, (height, width, channels)), (new_height, new_width))
    assert flat.shape == (new_height, new_width, channels)
    np.testing.assert_allclose(flat, np.broadcast_to(level, flat.shape), rtol=1e-5, atol=1e-6)
    image = rng.normal(size=(height, width, channels)).astype(np.float32)
    new = in_size(image, (new_height, new_width))
    assert new.min() >= image.min() - 1e-5      # averages of old pixels
    assert new.max() <= image.max() + 1e-5
    np.testing.assert_array_equal(in_size(image, (height, width)), image)
    scale = min(new_height / height, new_width / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (new_height - rows) // 2, (new_width - columns) // 2
    inner = new[top:top + rows, left:left + columns]
    outside = np.ones((new_height, new_width), bool)
    outside[top:top + rows, left:left + columns] = False
    on_edge = np.pad(np.zeros((max(rows - 2, 0), max(columns - 2, 0)), bool), 1, constant_values=True)[:rows, :columns]
    mean = inner[on_edge].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(new[outside], np.broadcast_to(mean, (outside.sum(), channels)), rtol=1e-4, atol=1e-5)


def test_a_ramp_stays_a_ramp():
    ramp = np.repeat(np.arange(16, dtype=np.float32)[None, :, None], 8, axis=0)
    np.testing.assert_allclose(in_size(ramp, (4, 8))[:, 1:-1, 0], np.tile(2 * np.arange(1, 7) + 0.5, (4, 1)), rtol=1e-5)
    assert in_size(ramp, (4, 8)).shape == (4, 8, 1)


def test_colour_and_grey():
    image = COLOUR.astype(np.float32) / 255
    brightness = np.asarray(Image.fromarray(COLOUR).convert("L")) / 255     # Pillow's integers round to a 255th
    np.testing.assert_allclose(in_channels(image, 1)[..., 0], brightness, atol=1.01 / 255)
    np.testing.assert_array_equal(in_channels(in_channels(image, 1), 3), np.repeat(in_channels(image, 1), 3, axis=-1))
    assert in_channels(image, 3) is image
