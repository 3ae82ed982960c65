"""The light of galaxies: Sersic profiles, inclined discs, spiral arms, bars, clumps, and the image that a telescope makes of them.

Lengths are in pixels, angles in radians, light in counts. Everything is worked out for many galaxies at once.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Values = Array | float

NODES, DENSE = 96, 2.0      # of the quadrature along each axis, and the radius in pixels within which they are dense
MARGIN = 4.0                # pixels around the frame whose light the atmosphere may still bring in


class Galaxies(NamedTuple):
    """What n galaxies are made of: each array (n,), those of the k clumps (n, k). Shares are of the whole light.

    A radius is that of half the light of its part, an axis ratio that of the part as it is seen (of the bar: in the disc's plane).
    """

    light: Array            # counts
    centre: Array           # (n, 2): from the middle of the frame, to the right and down
    angle: Array            # of the longest axis, from the right towards down
    bulge: Array            # share
    bulge_index: Array
    bulge_radius: Array
    bulge_ratio: Array
    disc_radius: Array      # the disc has what bulge, bar and clumps leave, Sersic index 1
    disc_ratio: Array
    arms: Array             # number of spiral arms
    arm_contrast: Array     # 0: none, 1: all light of the disc is in the arms
    pitch: Array            # angle between an arm and the circle
    phase: Array            # where the arms begin
    bar: Array              # share
    bar_radius: Array
    bar_ratio: Array
    bar_angle: Array        # in the disc's plane
    lopsided: Array         # 0 to 1: how much brighter the disc is on one side
    clumps: Array           # (n, k): share
    clump_places: Array     # (n, k, 2): in the disc's plane, in disc radii
    clump_sizes: Array      # (n, k): standard deviation
    seeing: Array           # standard deviation of the point-spread function


def sersic_b(n: ArrayLike) -> Array:
    """b of the Sersic profile, for which half of the light lies within r_e: gamma(2 n, b) = Gamma(2 n) / 2 (Ciotti and Bertin 1999).

    >>> sersic_b([1.0, 4.0]).round(4).tolist()
    [1.6783, 7.6692]
    """
    from scipy.special import gammaincinv

    return np.asarray(gammaincinv(2 * np.asarray(n, float), 0.5))


def sersic(r: ArrayLike, n: ArrayLike, r_e: ArrayLike) -> Array:
    """I(r) = exp(-b (r / r_e)^(1/n)) b^(2n) / (2 pi n r_e^2 Gamma(2 n)), the surface brightness of a part of light 1 (Sersic 1963).

    n = 1 is an exponential disc, n = 4 the profile of ellipticals (de Vaucouleurs 1948), n = 1/2 a Gaussian. Shapes broadcast.

    >>> float(sersic(0.0, 0.5, 1.0)), float(np.log(2) / np.pi)
    (0.2206..., 0.2206...)
    """
    from scipy.special import gammaln

    r, n, r_e = np.asarray(r), np.asarray(n), np.asarray(r_e)
    b = sersic_b(n)
    middle = np.exp(2 * n * np.log(b) - gammaln(2 * n)) / (2 * np.pi * n * r_e**2)
    kind = r.dtype if r.dtype.kind == "f" else np.dtype(float)                       # float32 stays so: the images are large
    return middle.astype(kind) * np.exp(-b.astype(kind) * (r / r_e.astype(kind)) ** (1 / n).astype(kind))


def seen_ratio(cosine: ArrayLike, thickness: ArrayLike) -> Array:
    """The axis ratio under which a disc is seen, q^2 = (1 - q_0^2) cos^2 i + q_0^2, q_0 the ratio seen from the side (Hubble 1926).

    >>> seen_ratio([1.0, 0.0], 0.2).tolist()
    [1.0, 0.2]
    """
    q_0 = np.asarray(thickness)
    return np.sqrt((1 - q_0**2) * np.asarray(cosine) ** 2 + q_0**2)


def arm_factor(r: Values, phi: Values, arms: Values, pitch: Values, phase: Values = 0.0, sharpness: float = 2.0) -> Array:
    """By how much logarithmic spiral arms brighten the place (r, phi) of a disc: exp(k cos psi) / I_0(k), psi = m (phi - phi(r)).

    Along an arm phi(r) = phase + ln(r) / tan(pitch). The mean over every circle is 1: arms move light, they add none. Shapes broadcast.

    >>> around = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    >>> round(float(arm_factor(5.0, around, arms=2, pitch=0.3).mean()), 12)
    1.0
    """
    psi = arms * (phi - phase - np.log(r) / np.tan(pitch))
    return np.exp(sharpness * np.cos(psi)) / np.asarray(np.i0(sharpness), np.result_type(psi))


def images(galaxies: Galaxies, size: int) -> Array:
    """What a telescope sees without noise: counts in every pixel, (n, size, size) float32.

    The light is summed over nodes that are dense at the middle of each galaxy, where a bulge has its cusp; each node is spread over the
    pixels by the point-spread function, a Gaussian, whose integral over a pixel is known.
    """
    edge = size / 2 + MARGIN
    t = np.linspace(-1, 1, 2 * NODES + 1)[1::2] * np.arcsinh(edge / DENSE)
    nodes = (DENSE * np.sinh(t)).astype(np.float32)                                 # (NODES,)
    widths = (DENSE * np.cosh(t) * (t[1] - t[0])).astype(np.float32)
    light = _brightness(galaxies, nodes) * (widths[:, None] * widths)[None]         # (n, NODES, NODES): rows down, columns to the right
    spread = [_spread(galaxies.centre[:, axis, None] + nodes[None], galaxies.seeing[:, None], size) for axis in (1, 0)]
    return spread[0].swapaxes(1, 2) @ light @ spread[1] + _clumps(galaxies, size)


def _brightness(g: Galaxies, nodes: Array) -> Array:
    """Counts per square pixel of bulge, disc and bar at the nodes around each galaxy's middle, (n, NODES, NODES)."""
    g = Galaxies(*(np.asarray(part, np.float32) for part in g))
    column = {name: part[:, None, None] for name, part in g._asdict().items() if part.ndim == 1}
    cos, sin = np.cos(column["angle"]), np.sin(column["angle"])
    across, down = nodes[None, None, :], nodes[None, :, None]
    u, v = across * cos + down * sin, down * cos - across * sin                      # along the longest axis, and across it
    bulge = sersic(np.hypot(u, v / column["bulge_ratio"]), column["bulge_index"], column["bulge_radius"]) / column["bulge_ratio"]
    v = v / column["disc_ratio"]                                                     # from here on in the plane of the disc
    r, phi = np.hypot(u, v), np.arctan2(v, u)
    arms = 1 + column["arm_contrast"] * (arm_factor(r, phi, column["arms"], column["pitch"], column["phase"]) - 1)
    side = 1 + column["lopsided"] * np.cos(phi - column["bar_angle"]) * r / (r + column["disc_radius"])
    disc = sersic(r, np.float32(1), column["disc_radius"]) * arms * side
    cos, sin = np.cos(column["bar_angle"]), np.sin(column["bar_angle"])
    along, over = u * cos + v * sin, (v * cos - u * sin) / column["bar_ratio"]
    bar = sersic(np.hypot(along, over), np.float32(0.5), column["bar_radius"]) / column["bar_ratio"]
    rest = 1 - column["bulge"] - column["bar"] - g.clumps.sum(axis=1)[:, None, None]
    return column["light"] * (column["bulge"] * bulge + (rest * disc + column["bar"] * bar) / column["disc_ratio"])


def _clumps(g: Galaxies, size: int) -> Array:
    """Counts of the clumps, round Gaussians, in every pixel, (n, size, size)."""
    u = g.clump_places[..., 0] * g.disc_radius[:, None]
    v = g.clump_places[..., 1] * (g.disc_radius * g.disc_ratio)[:, None]
    cos, sin = np.cos(g.angle)[:, None], np.sin(g.angle)[:, None]
    places = [g.centre[:, 0, None] + u * cos - v * sin, g.centre[:, 1, None] + u * sin + v * cos]      # to the right, down: (n, k)
    width = np.hypot(g.clump_sizes, g.seeing[:, None])
    right, down = (_spread(place, width, size) for place in places)                  # (n, k, size)
    weight = (g.light[:, None] * g.clumps).astype(np.float32)
    return (down * weight[:, :, None]).swapaxes(1, 2) @ right


def _spread(places: Array, width: Array, size: int) -> Array:
    """The share of a Gaussian at each place (n, k), from the middle of the frame, in each pixel of an axis: (n, k, size)."""
    from scipy.special import ndtr

    edges = np.arange(size + 1) - size / 2
    below = ndtr(((edges[None, None] - places[..., None]) / width[..., None]).astype(np.float32))
    return np.diff(below, axis=-1)
