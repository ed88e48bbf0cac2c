"""The market's WSGI application without threads kept for money: for the campaign that must find that out."""

from django.conf import settings

from market.config.wsgi import application

__all__ = ["application"]

settings.WEB_THREADS = 0
