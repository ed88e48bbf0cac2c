"""A control: amounts of money that are let through to the number reader as they came."""

import re

from market.common import money

money._AMOUNT = re.compile(r"[0-9.eE+-]{1,20}")
