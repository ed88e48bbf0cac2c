"""The public names are those of ``__all__`` ..."""

import inspect

import agents_sdk
from agents_sdk import AsyncMarket, Market, async_market, async_research, errors, market, research


def test_all_is_complete_and_sorted() -> None:
    public = {
        name
        for name, value in vars(agents_sdk).items()
        if not name.startswith("_") and not (inspect.ismodule(value) and name not in agents_sdk.__all__)
    }
    assert set(agents_sdk.__all__) == public | {"__version__"}
    assert agents_sdk.__all__ == sorted(agents_sdk.__all__)


def test_every_error_is_public() -> None:
    names = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.AtomsError)}
    assert names <= set(agents_sdk.__all__)


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    pairs = [
        (Market, AsyncMarket),
        (market.PostedBounty, async_market.AsyncPostedBounty),
        (market.Bounties, async_market.AsyncBounties),
        (market.Submissions, async_market.AsyncSubmissions),
        (market.Deposits, async_market.AsyncDeposits),
        (market.WebhookEndpoints, async_market.AsyncWebhookEndpoints),
        (research.Research, async_research.AsyncResearch),
        (research.Ideas, async_research.AsyncIdeas),
        (research.SubmittedCandidate, async_research.AsyncSubmittedCandidate),
    ]
    for blocking, awaiting in pairs:
        assert signatures(blocking) == signatures(awaiting)


def signatures(client: type) -> dict[str, list[tuple[str, object, object]]]:
    methods = {name: method for name, method in vars(client).items() if inspect.isfunction(method) and not name.startswith("_")}
    return {name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()] for name, method in methods.items()}


def test_every_public_thing_is_explained() -> None:
    for name in set(agents_sdk.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(agents_sdk, name)), name
