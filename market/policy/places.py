"""Where a place is, and whether a task's circle touches a place that no task may look at. Offline: data files, no network."""

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
import shapely
from django.conf import settings
from shapely.geometry.base import BaseGeometry

from market.policy import countries, sphere

_DATA: Final = Path(__file__).parent / "data"
# The borders file keeps Crimea as a part of its own, by its Wikidata id.
_CRIMEA: Final = "Q7835"
# Points on the rim of a task's circle at which the country is asked too: at 5 km one each 2 km.
_RIM_POINTS: Final = 16


class MalformedLayer(ValueError):
    """A file of restricted places can't be read; the message names the file and the feature."""


class _Feature(TypedDict):
    properties: dict[str, str]
    geometry: object


class _Collection(TypedDict):
    version: str
    features: list[_Feature]


@dataclass(frozen=True)
class _CountryIndex:
    tree: shapely.STRtree
    codes: tuple[str | None, ...]


@dataclass(frozen=True)
class _Restricted:
    code: str
    buffer_m: float
    geometry: BaseGeometry


@dataclass(frozen=True)
class _Layer:
    places: tuple[_Restricted, ...]
    # Unit vectors of each place's middle, and how far from there its own buffered outline may reach.
    middles: sphere.Coordinates
    reaches_m: sphere.Coordinates


def country_at(latitude: float, longitude: float) -> str | None:
    """Return the country or embargoed region at a place.

    Args:
        latitude: degrees north, WGS 84.
        longitude: degrees east; any turn of the globe is accepted.

    Returns:
        An ISO 3166-1 alpha-2 code, or "XC", "XD", "XL" for Crimea, Donetsk and Luhansk; None at sea outside
        territorial waters, where no code is assigned, and for what is no place at all. None is denied.
    """
    if not (math.isfinite(latitude) and math.isfinite(longitude) and -90 <= latitude <= 90):
        return None
    index = _country_index()
    turned = math.remainder(longitude, 360.0)
    # The data is cut at the antimeridian: a place on the cut may stand on either side.
    for side in {turned, -turned} if abs(turned) == 180.0 else {turned}:
        hits = index.tree.query(shapely.Point(side, latitude), predicate="intersects")
        if len(hits):
            # Embargoed regions come first in the index: they win over the country around them.
            return index.codes[int(min(hits))]
    return None


def restricted_near(latitude: float, longitude: float, within_m: float) -> str | None:
    """Return the code of a restricted place that a task's circle touches, or None.

    A restricted place is widened by its own buffer. A circle that reaches into an embargoed country or region is
    "embargoed_place"; a circle that can't be one is "place_malformed".

    Raises:
        MalformedLayer: an operator's file (setting RESTRICTED_PLACES) can't be read. Nothing is published then.
    """
    if not (math.isfinite(latitude) and math.isfinite(longitude) and -90 <= latitude <= 90 and 0 <= within_m < math.inf):
        return "place_malformed"
    for layer in [_layer(_DATA / "restricted_places.geojson"), *(_layer(Path(path)) for path in settings.RESTRICTED_PLACES)]:
        code = _touched(layer, latitude, longitude, within_m)
        if code:
            return code
    return "embargoed_place" if _touches_embargo(latitude, longitude, within_m) else None


def restricted_version() -> str:
    """Return the version of the restricted places that came with the release."""
    return _read(_DATA / "restricted_places.geojson")["version"]


def _touched(layer: _Layer, latitude: float, longitude: float, within_m: float) -> str | None:
    here = sphere.unit_vectors(np.array([[longitude, latitude]]))[0]
    near = sphere.distances_m(layer.middles, here) <= layer.reaches_m + within_m
    for position in np.flatnonzero(near):
        place = layer.places[int(position)]
        flat = shapely.transform(place.geometry, lambda xy: sphere.flatten(xy, latitude, longitude))
        if flat.distance(shapely.Point(0, 0)) <= within_m + place.buffer_m:
            return place.code
    return None


def _touches_embargo(latitude: float, longitude: float, within_m: float) -> bool:
    rim = (sphere.step(latitude, longitude, within_m, 360.0 * i / _RIM_POINTS) for i in range(_RIM_POINTS))
    return any("embargoed" in countries.decide(country_at(*place), "task").codes for place in rim)


@functools.cache
def _country_index() -> _CountryIndex:
    parts: list[tuple[str | None, BaseGeometry]] = [
        (feature["properties"]["id"], _shape(feature["geometry"])) for feature in _read(_DATA / "regions.geojson")["features"]
    ]
    features = [feature for feature in _read(_DATA / "borders.json")["features"] if feature["geometry"]]
    for feature in sorted(features, key=lambda feature: feature["properties"]["wikidata"] != _CRIMEA):
        code = _code(feature["properties"])
        # A tree of single polygons: the box of a whole multi-polygon often spans the globe.
        parts += [(code, part) for part in shapely.get_parts(_shape(feature["geometry"]))]
    geometries = [geometry for _, geometry in parts]
    for geometry in geometries:
        shapely.prepare(geometry)
    return _CountryIndex(tree=shapely.STRtree(geometries), codes=tuple(code for code, _ in parts))


def _code(properties: dict[str, str]) -> str | None:
    if properties["wikidata"] == _CRIMEA:
        return "XC"
    # "FX" and its like are reserved by exception: parts of a country, not codes of their own.
    is_country = "iso1A2" in properties and properties.get("isoStatus") != "excRes"
    return properties["iso1A2"] if is_country else properties.get("country")


@functools.cache
def _layer(path: Path) -> _Layer:
    places = tuple(_restricted(path, position, feature) for position, feature in enumerate(_read(path)["features"]))
    middles = np.empty((len(places), 3))
    reaches_m = np.empty(len(places))
    for position, place in enumerate(places):
        outline = sphere.unit_vectors(shapely.get_coordinates(place.geometry))
        middles[position] = sphere.middle_of(outline)
        reaches_m[position] = sphere.distances_m(outline, middles[position]).max() + place.buffer_m
    return _Layer(places=places, middles=middles, reaches_m=reaches_m)


def _restricted(path: Path, position: int, feature: _Feature) -> _Restricted:
    try:
        properties = feature["properties"]
        geometry = _shape(feature["geometry"])
        buffer_m = float(properties["buffer_m"])
        is_usable = not geometry.is_empty and _flat_about_itself(geometry).is_valid and 0 <= buffer_m < math.inf
        code = properties["code"]
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise MalformedLayer(f"{path}: feature {position} needs a geometry and the properties code and buffer_m ({error!r}).") from error
    if not is_usable:
        raise MalformedLayer(f"{path}: feature {position} has an empty or self-crossing outline, or a buffer_m below 0.")
    return _Restricted(code=code, buffer_m=buffer_m, geometry=geometry)


def _flat_about_itself(geometry: BaseGeometry) -> BaseGeometry:
    # Judged as drawn on the ground: a ring about the pole, or across the antimeridian, is sound only there.
    x, y, z = sphere.middle_of(sphere.unit_vectors(shapely.get_coordinates(geometry)))
    latitude, longitude = math.degrees(math.asin(z)), math.degrees(math.atan2(y, x))
    return shapely.transform(geometry, lambda xy: sphere.flatten(xy, latitude, longitude))


def _shape(geometry: object) -> BaseGeometry:
    return shapely.from_geojson(json.dumps(geometry))


@functools.cache
def _read(path: Path) -> _Collection:
    try:
        collection: _Collection = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MalformedLayer(f"{path} can't be read as GeoJSON: {error}") from error
    if not isinstance(collection, dict) or not isinstance(collection.get("features"), list):
        raise MalformedLayer(f"{path} is not a GeoJSON FeatureCollection.")
    return collection
