"""Research bounties: the list, one bounty with its progress, one candidate with its replays; figures as CSV beside each plot."""

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_GET

from market.bounties.research import queries
from market.bounties.research.models import ResearchBounty
from market.web import pages, plots, research_csv, research_reads, research_replays, visitors
from tasks import clock
from verification.replay.spec import Spec
from verification.research.models import Candidate

_SHOWN = 20


@require_GET
@gzip_page
def bounties(request: HttpRequest) -> HttpResponse:
    """Show the research bounties that take candidates, newest first."""
    after = request.GET.get("after", "")
    found = research_reads.listed(
        mode=visitors.mode_of(visitors.worker_of(request)),
        after=pages.id_in("rsb", after) if after else None,
        limit=_SHOWN + 1,
        now=clock.now(),
    )
    last = found[_SHOWN - 1].bounty if len(found) > _SHOWN else None
    return pages.show(request, "research", {"cards": found[:_SHOWN], "last": last, "is_first": not after, "unit": research_reads.UNIT})


@require_GET
@gzip_page
def bounty(request: HttpRequest, bounty: str) -> HttpResponse:
    """Show what is wanted, what it pays, how far it has come, and how to take part."""
    found = _bounty(request, bounty)
    context: pages.Context = {
        "bounty": found,
        "spec": Spec.from_json(found.task.spec),
        "prices": research_reads.prices_of(found),
        "is_open": research_reads.takes_candidates(found, now=clock.now()),
        "is_full": research_reads.is_full(found),
        "frontier": research_reads.frontier_of(found),
        "leaderboard": research_reads.leaderboard_of(found, viewer=visitors.worker_of(request)),
        "chain": research_reads.chain_of(found),
        "undecided": research_reads.undecided_of(found)[:_SHOWN],
        "refused": research_reads.newest_refused_of(found),
        "ideas": research_reads.ideas_of(found),
        "unit": research_reads.UNIT,
    }
    return pages.show(request, "research_bounty", context)


@require_GET
def frontier_csv(request: HttpRequest, bounty: str) -> HttpResponse:
    """Send the figures of the progress plot."""
    found = _bounty(request, bounty)
    return _figures(f"{found}-frontier", research_reads.frontier_of(found))


@require_GET
@gzip_page
def candidate(request: HttpRequest, candidate: str) -> HttpResponse:
    """Show a candidate's verdict and everything that may be known of its replays."""
    found = _candidate(request, candidate)
    posted = queries.bounty_of_task(found.task)
    if found.status in (Candidate.Status.SEALED, Candidate.Status.LAPSED):
        return pages.show(request, "research_sealed", {"candidate": found, "bounty": posted})
    money = queries.story_of_candidate(found)
    context: pages.Context = {
        "candidate": found,
        "bounty": posted,
        "maker": visitors.name_of(found.claimant_id),
        "is_decided": found.status in Candidate.DECIDED,
        "is_withdrawn": research_replays.is_withdrawn(found),
        "reason": research_replays.sentence(found.reason_code) if found.reason_code else "",
        "class_words": research_replays.class_words(found.class_text),
        "settlement": money.settlement,
        "window_ends_at": research_replays.window_ends_at(found, money.settlement, now=clock.now()),
        "replays": research_replays.replays_of(found),
        "path": research_replays.path_of(found),
        "findings": research_replays.findings_of(found),
        "challenges": money.challenges,
        "diff": research_replays.diff_of(found),
        "unit": research_reads.UNIT,
    }
    return pages.show(request, "research_candidate", context)


@require_GET
def curves_csv(request: HttpRequest, candidate: str) -> HttpResponse:
    """Send the losses that the runs printed."""
    found = _open_candidate(request, candidate)
    return _figures(f"{found}-curves", research_replays.replays_of(found).curves)


@require_GET
def gains_csv(request: HttpRequest, candidate: str) -> HttpResponse:
    """Send the gain of each pair beside the reported one."""
    found = _open_candidate(request, candidate)
    return _figures(f"{found}-gains", research_replays.replays_of(found).gains)


@require_GET
def test_csv(request: HttpRequest, candidate: str) -> HttpResponse:
    """Send the path of the test."""
    found = _open_candidate(request, candidate)
    return _figures(f"{found}-test", research_replays.path_of(found))


def _bounty(request: HttpRequest, text: str) -> ResearchBounty:
    return research_reads.bounty_of(pages.id_in("rsb", text), mode=visitors.mode_of(visitors.worker_of(request)))


def _candidate(request: HttpRequest, text: str) -> Candidate:
    return research_replays.candidate_of(pages.id_in("cnd", text), mode=visitors.mode_of(visitors.worker_of(request)))


def _open_candidate(request: HttpRequest, text: str) -> Candidate:
    found = _candidate(request, text)
    if found.tree_id is None:
        raise Http404("Nothing of this candidate is known yet.")
    return found


def _figures(name: str, plot: plots.Plot) -> HttpResponse:
    return research_csv.answer(name, plot.header, plot.rows)
