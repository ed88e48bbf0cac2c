import uuid

from market.common import account_paths

SOMEBODY = uuid.UUID("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")


def test_paths_say_mode_kind_owner_purse_and_currency() -> None:
    assert account_paths.agent_available(mode="test", agent_id=SOMEBODY, currency="USD") == (
        "test:agent:0190a1b2c3d47e5f8a9b0c1d2e3f4a5b:available:USD"
    )
    assert account_paths.bounty_held(mode="live", bounty_id=SOMEBODY, currency="JPY") == (
        "live:bounty:0190a1b2c3d47e5f8a9b0c1d2e3f4a5b:held:JPY"
    )
    assert account_paths.worker_in_transit(mode="test", worker_id=SOMEBODY, currency="USDC") == (
        "test:worker:0190a1b2c3d47e5f8a9b0c1d2e3f4a5b:in_transit:USDC"
    )
    assert account_paths.clearing(mode="test", provider="test_money", currency="USD") == "test:clearing:test_money:USD"


def test_every_path_of_a_worker_begins_with_his_prefix() -> None:
    prefix = account_paths.worker_prefix(mode="test", worker_id=SOMEBODY)
    for name in (account_paths.worker_earned, account_paths.worker_payable, account_paths.worker_in_transit):
        path = name(mode="test", worker_id=SOMEBODY, currency="USD")
        assert path.startswith(prefix)
        assert account_paths.is_guarded(path)
        assert account_paths.currency_of(path) == "USD"


def test_only_what_many_write_is_not_guarded() -> None:
    assert not account_paths.is_guarded(account_paths.platform_fees(mode="test", currency="USD"))
    assert not account_paths.is_guarded(account_paths.clearing(mode="test", provider="test_money", currency="USD"))
    assert account_paths.is_guarded("test:platforms:x:USD")
