"""Places: distances, H3 cells for "near me", travel estimates, and how coarsely a worker's place is kept."""

import math

from h3.api import basic_int as h3  # type: ignore[import-untyped]

# Hexagons with edges of about 1.4 km.
LISTING_RESOLUTION = 7
# Hexagons with edges of about 3.7 km: all that is kept of where a worker was when he claimed.
WORKER_RESOLUTION = 6
EARTH_RADIUS_M = 6_371_008.8

# The shortest edge of any cell of LISTING_RESOLUTION (the mean is 1,406 m; cells shrink towards the icosahedron's corners).
_SHORTEST_LISTING_EDGE_M = 950.0
MAX_NEAR_M = 25_000

# Door to door in a town, on foot and by bus: 5 minutes to leave, then 4 m/s; at most 4 hours.
_LEAVE_S = 300
_TRAVEL_M_PER_S = 4.0
_MAX_TRAVEL_S = 4 * 3600
# What is assumed of a worker who does not say where he is.
UNKNOWN_DISTANCE_M = 3_000.0


def haversine_m(latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float) -> float:
    """Return the great-circle distance in metres on a sphere of the Earth's mean radius (within 0.6 % of the ellipsoid)."""
    phi_a, phi_b = math.radians(latitude_a), math.radians(latitude_b)
    half_chord = (
        math.sin((phi_b - phi_a) / 2) ** 2 + math.cos(phi_a) * math.cos(phi_b) * math.sin(math.radians(longitude_b - longitude_a) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, half_chord)))


def listing_cell(latitude: float, longitude: float) -> int:
    """Return the H3 cell under which a place is listed; it fits a signed 64-bit integer."""
    return int(h3.latlng_to_cell(latitude, longitude, LISTING_RESOLUTION))


def coarse_cell(latitude: float, longitude: float) -> int:
    """Return the H3 cell that is kept of a worker's position."""
    return int(h3.latlng_to_cell(latitude, longitude, WORKER_RESOLUTION))


def cells_near(latitude: float, longitude: float, radius_m: float) -> list[int]:
    """Return listing cells that together cover every point within ``radius_m`` (and some beyond it)."""
    # k rings reach at least 1.5 edges a ring from the centre cell's middle; one more, because the point may lie at its rim.
    rings = math.ceil(min(radius_m, MAX_NEAR_M) / (1.5 * _SHORTEST_LISTING_EDGE_M)) + 1
    return [int(cell) for cell in h3.grid_disk(listing_cell(latitude, longitude), rings)]


def travel_estimate_s(distance_m: float) -> int:
    """Return the seconds a worker is given to get to a place ``distance_m`` away."""
    return min(_MAX_TRAVEL_S, _LEAVE_S + math.ceil(distance_m / _TRAVEL_M_PER_S))
