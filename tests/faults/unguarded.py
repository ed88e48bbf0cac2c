"""The market's WSGI application without its memory of requests: for the campaign that must find that out."""

from market.config.wsgi import application

__all__ = ["application"]

from market.accounts import idempotency  # needs the models that the application loads

idempotency.once = lambda asked, effect: effect()
