"""The windows and counts of a bounty's life, as data. Prices stand in `market.bounties.pricing`."""

import datetime

# How long a worker may start the one retake after a first rejection (never past the task's own window).
RETAKE_OFFER = datetime.timedelta(hours=2)
# How long a rejection may be appealed: after the retake offer, or after the rejection where there is none.
APPEAL_WINDOW = datetime.timedelta(hours=72)
# How many workers must report, independently, that it can't be done for the same reason.
AGREEING_NEGATIVE_REPORTS = 2

# The longest from posting to deadline: with review, appeal window and the appeal's review it must fit the 90 days that money
# may be held (a person's time stands in `verification.reviews`).
MAX_LIFE = datetime.timedelta(days=60)
MAX_SLOTS = 100

# How long after its confirmation a deposit may still be called back, by provider; the default is for any other.
DEPOSIT_MATURITY = {"test_money": datetime.timedelta(0)}
DEFAULT_DEPOSIT_MATURITY = datetime.timedelta(days=90)
# How long after a paid settlement its verdict may still be challenged, by kind of task.
CHALLENGE_WINDOW = {"photo": datetime.timedelta(0)}

# What is assumed of the worker's way when "expected time to claim" is asked, and over which past it is measured.
QUOTE_RADIUS_M = 10_000
QUOTE_PAST = datetime.timedelta(days=30)
