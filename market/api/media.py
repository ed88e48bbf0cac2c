"""/v1/media: the copies of evidence that people and agents may see, through short-lived links bound to one viewer."""

from typing import BinaryIO

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from market.accounts import media_links
from market.accounts.models import ApiKey, User
from market.api import auth, base, problems
from market.bounties import viewing
from tasks import evidence


class MediaView(base.ApiView):
    """Display copies and previews."""

    authentication_classes = (auth.BearerKey, auth.SessionReader)
    scopes = auth.ANYBODY

    @extend_schema(operation_id="media_get", responses={(200, "image/jpeg"): OpenApiTypes.BINARY})
    def get(self, request: Request, token: str) -> FileResponse:
        """Fetch a copy through a link that was made for you a moment ago.

        Besides the link, what its viewer may see is looked up again: a right that has ended ends the link.
        """
        viewer = request.auth if isinstance(request.auth, ApiKey) else request.user
        if isinstance(viewer, ApiKey):
            link = media_links.open_link(token=token, viewer=media_links.viewer_with_key(viewer.pk))
            file = viewing.open_for_key(link=link, key=viewer)
        elif isinstance(viewer, User):
            link = media_links.open_link(token=token, viewer=media_links.viewer_with_session(viewer.pk))
            file = viewing.open_for_user(link=link, user=viewer)
        else:
            raise problems.NoViewer("Neither an API key nor a session was sent.")
        try:
            if link.variant == "preview":
                return respond(evidence.open_preview(file.display_sha256), content_type="image/jpeg", name=f"{file}-preview.jpg")
            return respond(evidence.open_display(file.display_sha256), content_type="image/jpeg", name=f"{file}.jpg")
        except FileNotFoundError:
            # Erased: the row is kept for its digests.
            raise media_links.BadLink("This link has ended or was made for another viewer.") from None


def respond(content: BinaryIO, *, content_type: str, name: str) -> FileResponse:
    """Send a file so that nothing keeps it, guesses its type or shows it as a page of ours."""
    response = FileResponse(content, content_type=content_type, filename=name, as_attachment=content_type != "image/jpeg")
    for header, value in media_links.HEADERS.items():
        response.headers[header] = value
    return response
