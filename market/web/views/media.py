"""Photos on pages: the re-encoded copy, to the one who was given the link and may still see it."""

from django.http import FileResponse, Http404, HttpRequest
from django.views.decorators.http import require_GET

from market.accounts import media_links
from market.accounts.models import User
from market.bounties import viewing
from tasks import evidence


@require_GET
def photo(request: HttpRequest, token: str) -> FileResponse:
    """Send the copy that the link opens for this user."""
    if not isinstance(request.user, User):
        raise Http404("There is no such photo.")
    try:
        link = media_links.open_link(token=token, viewer=media_links.viewer_with_session(request.user.pk))
        file = viewing.open_for_user(link=link, user=request.user)
        content = evidence.open_display(file.display_sha256) if link.variant == "display" else evidence.open_preview(file.display_sha256)
    except (media_links.BadLink, FileNotFoundError):
        raise Http404("There is no such photo.") from None
    response = FileResponse(content, content_type="image/jpeg", filename=f"{file}.jpg")
    for header, value in media_links.HEADERS.items():
        response.headers[header] = value
    return response
