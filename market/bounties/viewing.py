"""Who may look at which copy of a photo at this moment. A link says which copy it was made for; this says whether that still holds."""

from django.db.models import Q, QuerySet

from market.accounts import media_links
from market.accounts.models import ApiKey, User
from market.bounties import queries
from tasks.models import Evidence


def open_for_key(*, link: media_links.Link, key: ApiKey) -> Evidence:
    """Return the file of a link, if the key's holder may see this copy of it now.

    Raises:
        media_links.BadLink: he may not, or not any more.
    """
    rows = Evidence.objects.filter(submission__task__mode=key.mode)
    if key.scope == ApiKey.Scope.AGENT:
        return _open(link, rows.filter(submission__task__bounty__agent=key.agent_id), as_poster=True)
    if key.scope == ApiKey.Scope.WORKER:
        return _open(link, rows.filter(submission__worker=key.user_id), as_poster=False)
    return _open(link, rows.none(), as_poster=False)


def open_for_user(*, link: media_links.Link, user: User) -> Evidence:
    """Return the file of a link, if somebody who is signed in may see this copy of it now.

    Raises:
        media_links.BadLink: he may not, or not any more.
    """
    rows = Evidence.objects.all()
    if not user.is_staff:
        rows = rows.filter(Q(submission__worker=user.pk) | Q(submission__task__owner=user.pk))
    # An operator who posted the task himself is its poster first.
    return _open(link, rows, as_poster=rows.filter(pk=link.evidence_id, submission__task__owner=user.pk).exists())


def _open(link: media_links.Link, rows: QuerySet[Evidence], *, as_poster: bool) -> Evidence:
    file = rows.select_related("submission").filter(pk=link.evidence_id).first()
    if file is None or (link.variant == "display" and as_poster and not queries.is_original_open_to_poster(file.submission)):
        raise media_links.BadLink("This link has ended or was made for another viewer.")
    return file
