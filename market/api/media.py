"""/v1/media: the copies of evidence that people and agents may see, through short-lived links bound to one viewer."""

from typing import BinaryIO

from django.db.models import Q, QuerySet
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from market.accounts import media_links
from market.accounts.models import ApiKey, User
from market.api import auth, base, problems
from market.bounties import queries
from tasks import evidence
from tasks.models import Evidence

_HEADERS = {
    "Cache-Control": "no-store, private",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class MediaView(base.ApiView):
    """Display copies and previews."""

    authentication_classes = (auth.BearerKey, auth.SessionReader)
    scopes = auth.ANYBODY

    @extend_schema(operation_id="media_get", responses={(200, "image/jpeg"): OpenApiTypes.BINARY})
    def get(self, request: Request, token: str) -> FileResponse:
        """Fetch a copy through a link that was made for you a moment ago.

        Besides the link, what its viewer may see is looked up again: a right that has ended ends the link.
        """
        link = media_links.open_link(token=token, viewer=_viewer(request))
        file = _visible(request).select_related("submission").filter(pk=link.evidence_id).first()
        if file is None:
            raise media_links.BadLink("This link has ended or was made for another viewer.")
        if link.variant == "preview":
            return respond(evidence.open_preview(file.display_sha256), content_type="image/jpeg", name=f"{file}-preview.jpg")
        if _is_poster(request, file) and not queries.is_original_open_to_poster(file.submission):
            raise media_links.BadLink("This link has ended or was made for another viewer.")
        return respond(evidence.open_display(file.display_sha256), content_type="image/jpeg", name=f"{file}.jpg")


def respond(content: BinaryIO, *, content_type: str, name: str) -> FileResponse:
    """Send a file so that nothing keeps it, guesses its type or shows it as a page of ours."""
    response = FileResponse(content, content_type=content_type, filename=name, as_attachment=content_type != "image/jpeg")
    for header, value in _HEADERS.items():
        response.headers[header] = value
    return response


def _viewer(request: Request) -> str:
    if isinstance(request.auth, ApiKey):
        return media_links.viewer_with_key(request.auth.pk)
    if not isinstance(request.user, User):
        raise problems.NoViewer("Neither an API key nor a session was sent.")
    return media_links.viewer_with_session(request.user.pk)


def _visible(request: Request) -> QuerySet[Evidence]:
    """Return the files that the viewer may see at all, at this moment."""
    if isinstance(request.auth, ApiKey):
        key = request.auth
        rows = Evidence.objects.filter(submission__task__mode=key.mode)
        if key.scope == ApiKey.Scope.AGENT:
            return rows.filter(submission__task__bounty__agent=key.agent_id)
        return rows.filter(submission__worker=key.user_id) if key.scope == ApiKey.Scope.WORKER else rows.none()
    user = request.user
    assert isinstance(user, User)
    if user.is_staff:
        return Evidence.objects.all()
    return Evidence.objects.filter(Q(submission__worker=user.pk) | Q(submission__task__owner=user.pk))


def _is_poster(request: Request, file: Evidence) -> bool:
    if isinstance(request.auth, ApiKey):
        return request.auth.scope == ApiKey.Scope.AGENT
    # An operator who posted the task himself is its poster first.
    return isinstance(request.user, User) and file.submission.task.owner_id == request.user.pk
