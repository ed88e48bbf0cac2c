"""Addresses of photos on pages: the shared short-lived links, served here to whoever is signed in."""

import uuid

from django.urls import reverse

from market.accounts import media_links
from tasks.models import Evidence


def path_for(user_id: uuid.UUID, file: Evidence, variant: media_links.Variant) -> str:
    """Return the path at which this user, and nobody else, sees the copy for the next minute."""
    link = media_links.url(evidence_id=file.pk, variant=variant, viewer=media_links.viewer_with_session(user_id))
    return reverse("web:photo", args=[link.rsplit("/", 1)[1]])
