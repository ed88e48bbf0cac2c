"""Figures as CSV files, for spreadsheets: what a cell may hold, and the answer that carries them."""

import csv
import io
import itertools
from collections.abc import Iterable, Sequence

from django.http import HttpResponse

# What a spreadsheet takes for a formula at the start of a cell, whoever wrote it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def answer(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> HttpResponse:
    """Send a header and rows as a file; numbers are written as Python writes them, None as an empty cell."""
    response = HttpResponse(_lines(header, rows), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    for row in itertools.chain([header], rows):
        writer.writerow([_cell(value) for value in row])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
