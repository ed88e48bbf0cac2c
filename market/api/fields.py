"""Parts of serializers: strict input that never guesses, and the shapes that many answers share."""

import datetime
import functools
import re

from rest_framework import serializers

from market.common.money import MalformedMoney, Money

_UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")


class Input(serializers.Serializer[object]):
    """A body in which every name is known: a misspelt field is refused, not ignored."""

    def to_internal_value(self, data: object) -> object:
        """Read the body.

        Raises:
            rest_framework.serializers.ValidationError: an unknown field, or one that can't be read.
        """
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({name[:60]: ["This field is unknown or not yours to set."] for name in unknown})
        return super().to_internal_value(data)


class EmptyInput(Input):
    """A body that says nothing: ``{}``."""


class Text(serializers.CharField):
    """Text that was sent as text: numbers are not turned into it, spaces are kept."""

    def to_internal_value(self, data: object) -> str:
        """Read text."""
        if not isinstance(data, str):
            raise serializers.ValidationError("Send text.")
        return str(super().to_internal_value(data))


class Whole(serializers.IntegerField):
    """A whole number that was sent as one: neither text, nor a truth value, nor 1.0."""

    def to_internal_value(self, data: object) -> int:
        """Read a whole number."""
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("Send a whole number.")
        return int(super().to_internal_value(data))


class Number(serializers.FloatField):
    """A number that was sent as one."""

    def to_internal_value(self, data: object) -> float:
        """Read a number."""
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("Send a number.")
        return float(super().to_internal_value(data))


class Truth(serializers.BooleanField):
    """true or false, and nothing that resembles it."""

    def to_internal_value(self, data: object) -> bool:
        """Read a truth value."""
        if not isinstance(data, bool):
            raise serializers.ValidationError("Send true or false.")
        return data


class Moment(serializers.DateTimeField):
    """A moment with its offset from UTC, as ISO 8601 text."""

    def to_internal_value(self, value: object) -> datetime.datetime:
        """Read a moment."""
        if not isinstance(value, str) or not _UTC_TIME.fullmatch(value):
            raise serializers.ValidationError("Send a time with its offset, such as 2030-01-31T12:00:00Z.")
        try:
            return datetime.datetime.fromisoformat(value).astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            raise serializers.ValidationError("There is no such time.") from None


class MoneyInput(Input):
    """An amount as text, never a number: ``{"amount": "10.00", "currency": "USD"}``."""

    amount = Text(max_length=24, help_text='A plain decimal such as "10.00".')
    currency = Text(max_length=5, help_text="USD, EUR, GBP, JPY or USDC.")

    def to_internal_value(self, data: object) -> Money:
        """Read an amount."""
        fields = super().to_internal_value(data)
        assert isinstance(fields, dict)
        try:
            return Money.parse(fields["amount"], fields["currency"])
        except MalformedMoney as error:
            raise serializers.ValidationError(str(error)) from None


class MoneyOutput(serializers.Serializer[object]):
    """An amount of one currency."""

    amount = serializers.CharField(help_text="A plain decimal with all decimals of its currency.")
    currency = serializers.CharField()


class CriterionOutput(serializers.Serializer[object]):
    """A published criterion: rejections name these and nothing else."""

    code = serializers.CharField()
    text = serializers.CharField()


class PlaceOutput(serializers.Serializer[object]):
    """Where, in degrees (WGS 84), and how far around it in metres."""

    latitude = serializers.FloatField()
    longitude = serializers.FloatField()
    within_m = serializers.IntegerField()


@functools.cache
def made_once(serializer: type[serializers.Serializer[object]]) -> serializers.Serializer[object]:
    """Return a serializer that serves all requests: it keeps nothing of what it reads or writes, and copying its fields is slow."""
    return serializer()


def shown(serializer: type[serializers.Serializer[object]], data: object) -> dict[str, object]:
    """Write an answer as its serializer shows it."""
    return dict(made_once(serializer).to_representation(data))


def object_field(name: str) -> serializers.ChoiceField:
    """Return the field that says of what kind an object is."""
    return serializers.ChoiceField(choices=[name])


def id_field(prefix: str, *, allow_blank: bool = False, required: bool = True, help_text: str | None = None) -> serializers.RegexField:
    """Return the field of a prefixed id."""
    return serializers.RegexField(rf"^{prefix}_[0-9a-f]{{32}}$", allow_blank=allow_blank, required=required, help_text=help_text)


def token_field() -> Whole:
    """Return the field of a lease's fencing token."""
    return Whole(min_value=0, max_value=2**63 - 1)


def money(amount_minor: int, currency: str) -> dict[str, str]:
    """Write an amount for `MoneyOutput`."""
    return {"amount": Money(amount_minor, currency).decimal_text(), "currency": currency}


def money_of(amount: Money) -> dict[str, str]:
    """Write an amount for `MoneyOutput`."""
    return {"amount": amount.decimal_text(), "currency": amount.currency}
