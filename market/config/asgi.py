"""The ASGI application, for servers that stream; requests that use the database cost half as much under WSGI."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "market.config.settings")
application = get_asgi_application()

from market.config import checks  # noqa: E402 - needs the settings

checks.refuse_wrong_environment()
