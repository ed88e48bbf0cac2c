"""Photos on pages: the re-encoded copy, to the one who was given the link."""

from django.http import FileResponse, Http404, HttpRequest
from django.views.decorators.http import require_GET

from market.accounts import media_links
from market.accounts.models import User
from tasks import evidence
from tasks.models import Evidence


@require_GET
def photo(request: HttpRequest, token: str) -> FileResponse:
    """Send the copy that the link opens for this user."""
    if not isinstance(request.user, User):
        raise Http404("There is no such photo.")
    try:
        link = media_links.open_link(token=token, viewer=media_links.viewer_with_session(request.user.pk))
        file = Evidence.objects.get(pk=link.evidence_id)
        content = evidence.open_display(file.display_sha256) if link.variant == "display" else evidence.open_preview(file.display_sha256)
    except (media_links.BadLink, Evidence.DoesNotExist, FileNotFoundError):
        raise Http404("There is no such photo.") from None
    response = FileResponse(content, content_type="image/jpeg")
    response.headers["Cache-Control"] = f"private, max-age={media_links.MAX_AGE_S}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
