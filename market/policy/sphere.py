"""Distances on the sphere for policy's circles: unit vectors, an azimuthal equidistant plane and a step along a bearing."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

EARTH_RADIUS_M: Final = 6_371_008.8  # IUGG mean radius R1

Coordinates = npt.NDArray[np.float64]


def unit_vectors(xy: Coordinates) -> Coordinates:
    """Return (n, 3) unit vectors of (n, 2) longitudes and latitudes in degrees."""
    east, north = np.radians(xy[:, 0]), np.radians(xy[:, 1])
    return np.column_stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])


def middle_of(vectors: Coordinates) -> Coordinates:
    """Return the unit vector in the middle of (n, 3) unit vectors that lie within a hemisphere."""
    mean = vectors.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float64)


def distances_m(vectors: Coordinates, to: Coordinates) -> Coordinates:
    """Return great-circle distances from (n, 3) unit vectors to one."""
    # From the chord, which keeps its precision for near places where an arc cosine does not.
    chords = np.linalg.norm(vectors - to, axis=1)
    return np.asarray(2.0 * EARTH_RADIUS_M * np.arcsin(np.clip(chords / 2.0, 0.0, 1.0)), dtype=np.float64)


def flatten(xy: Coordinates, latitude: float, longitude: float) -> Coordinates:
    """Project (n, 2) longitudes and latitudes to metres about a place; distances from that place are exact.

    Azimuthal equidistant: Snyder, Map Projections, USGS Professional Paper 1395 (1987), equations 22-4, 22-5 and 25-2.
    """
    north, east = np.radians(xy[:, 1]), np.radians(xy[:, 0] - longitude)
    north0 = math.radians(latitude)
    x = np.cos(north) * np.sin(east)
    y = math.cos(north0) * np.sin(north) - math.sin(north0) * np.cos(north) * np.cos(east)
    cosine = math.sin(north0) * np.sin(north) + math.cos(north0) * np.cos(north) * np.cos(east)
    sine = np.hypot(x, y)
    scale = EARTH_RADIUS_M * np.divide(np.arctan2(sine, cosine), sine, out=np.ones_like(sine), where=sine > 1e-15)
    return np.column_stack([x * scale, y * scale])


def step(latitude: float, longitude: float, distance_m: float, bearing_deg: float) -> tuple[float, float]:
    """Return the latitude and longitude reached from a place along a great circle (Snyder 1987, equations 5-5 and 5-6)."""
    angle, bearing, north = distance_m / EARTH_RADIUS_M, math.radians(bearing_deg), math.radians(latitude)
    sine = math.sin(north) * math.cos(angle) + math.cos(north) * math.sin(angle) * math.cos(bearing)
    reached = math.asin(max(-1.0, min(1.0, sine)))
    turn = math.atan2(math.sin(bearing) * math.sin(angle) * math.cos(north), math.cos(angle) - math.sin(north) * sine)
    return math.degrees(reached), longitude + math.degrees(turn)
