"""The SQL functions that alone write the ledger, and the triggers that refuse every other write."""

from pathlib import Path

from django.db import migrations

BACKWARDS = """
DROP TRIGGER transfer_never_changes ON ledger_transfer;
DROP TRIGGER transfer_has_one_writer ON ledger_transfer;
DROP TRIGGER account_stays ON ledger_account;
DROP TRIGGER account_has_one_writer ON ledger_account;
DROP TRIGGER mark_never_changes ON ledger_balancemark;
DROP TRIGGER mark_has_one_writer ON ledger_balancemark;
DROP FUNCTION ledger_refuse_change, ledger_refuse_stranger, ledger_mark, ledger_settled_seq, ledger_shared_balances, ledger_post;
DROP SEQUENCE ledger_transfer_order;
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial")]
    operations = [migrations.RunSQL(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"), BACKWARDS)]
