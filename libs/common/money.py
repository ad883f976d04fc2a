"""Money in integer minor units, quantities in decimals; floats nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from common.errors import InvalidRequest
from erp.types.v1 import money_pb2

# ISO 4217 currencies whose minor unit is not a hundredth; all other three-letter codes in use have
# two decimals.
_DECIMALS = {
    **dict.fromkeys(
        ("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF").split(), 0
    ),
    **dict.fromkeys(("BHD IQD JOD KWD LYD OMR TND").split(), 3),
    **dict.fromkeys(("CLF UYW").split(), 4),
}
_TWO_DECIMALS = frozenset(
    """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN
    BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS
    GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR
    LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD
    PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN
    SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW
    ZWG
    """.split()
)

# Only those that have not two.
CURRENCIES_BY_DECIMALS = {
    decimals: [code for code, of_code in _DECIMALS.items() if of_code == decimals]
    for decimals in sorted({*_DECIMALS.values()})
}

_MILLIONTHS = 1_000_000


def decimals_of(currency: str) -> int:
    """How many decimals a currency has (ISO 4217).

    Raises:
        KeyError: there is no such currency.
    """
    return 2 if currency in _TWO_DECIMALS else _DECIMALS[currency]


def unusual_decimals() -> Mapping[str, int]:
    """The currencies that have not two decimals, and how many they have."""
    return _DECIMALS


@dataclass(frozen=True)
class Money:
    """An amount of one currency in its minor unit: Money("EUR", 1250) is 12.50 EUR."""

    currency: str
    minor: int

    @classmethod
    def from_wire(cls, message: money_pb2.Money, field: str) -> "Money":
        """Read an amount from a request.

        Args:
            message: the amount, its shape already validated.
            field: JSON pointer of the field without the leading slash, such as
                "lines/0/unit_price".

        Raises:
            InvalidRequest: no such currency, or more decimals than the currency has.
        """
        try:
            decimals = decimals_of(message.currency_code)
        except KeyError:
            raise InvalidRequest.of(
                f"/{field}/currency_code", "is not a currency of ISO 4217"
            ) from None
        scaled = Decimal(message.amount).scaleb(decimals)
        if scaled != int(scaled):
            rule = f"has more decimals than {message.currency_code}, which has {decimals}"
            raise InvalidRequest.of(f"/{field}/amount", rule)
        return cls(message.currency_code, int(scaled))

    def to_wire(self) -> money_pb2.Money:
        """The amount with all the decimals of its currency."""
        return money_pb2.Money(
            currency_code=self.currency, amount=format_minor(self.minor, self.currency)
        )

    def __neg__(self) -> "Money":
        return Money(self.currency, -self.minor)


def format_minor(minor: int, currency: str) -> str:
    """Minor units as a decimal string: 1250 EUR is "12.50"."""
    decimals = decimals_of(currency)
    if not decimals:
        return str(minor)
    whole, fraction = divmod(abs(minor), 10**decimals)
    return f"{'-' if minor < 0 else ''}{whole}.{fraction:0{decimals}d}"


def times(unit_minor: int, quantity: Decimal) -> int:
    """A price in minor units times a quantity, rounded half up, away from zero."""
    # The default context has 28 digits, fewer than a price and a quantity can have together.
    with localcontext(prec=60):
        return int((unit_minor * quantity).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def share_of(minor: int, part: Decimal, whole: Decimal) -> int:
    """What some of the units have of an amount for all of them, rounded half up.

    All units have all of it, so an amount that is shared until none are left is shared completely.
    Quantities have at most 6 decimals; no units at all have nothing.
    """
    if not whole:
        return 0
    units, of = int(part * _MILLIONTHS), int(whole * _MILLIONTHS)
    return (2 * minor * units + of) // (2 * of)


def format_quantity(quantity: Decimal) -> str:
    """A quantity without exponent and trailing zeros: Decimal("2.500000") is "2.5"."""
    text = f"{quantity:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text
