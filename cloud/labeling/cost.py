"""What a labelling job costs, before anybody is paid, and what it has cost so far. Pure.

An estimate: taxes, the free tier of a new account, what a private team earns and a vendor's price are not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

PRICE_LIST = "https://aws.amazon.com/sagemaker/groundtruth/pricing"
PRICES_OF = "2024"  # as remembered of the page below, which could not be read for this: hence shown, and overridable
SERVICE_TIERS = ((50_000, Decimal("0.08")), (1_000_000, Decimal("0.04")), (None, Decimal("0.02")))
"""US dollars to the service for each labelled object: of the first 50,000 in a month, up to a million, beyond."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """``objects`` are labelled by ``workers`` people each, who get ``task_price``; all prices are US dollars.

    ``service_price`` overrides the price list.
    """

    objects: int
    workers: int
    task_price: Decimal = Decimal(0)
    service_price: Decimal | None = None

    @property
    def work(self) -> Decimal:
        """What workers get. A private team's wages are not known here."""
        return self.objects * self.workers * self.task_price

    @property
    def service(self) -> Decimal:
        return service_cost(self.objects, self.service_price)

    @property
    def total(self) -> Decimal:
        return self.work + self.service

    def lines(self) -> Iterator[str]:
        """For a person: each factor with where it is from, then the sum."""
        each = f"at {self.service_price} USD, as set" if self.service_price is not None else _tiers(self.objects)
        yield f"service: {self.objects:,} objects {each} = {usd(self.service)}"
        if self.task_price:
            workers = f"{self.workers} workers" if self.workers > 1 else "1 worker"
            yield f"work: {self.objects:,} objects × {workers} at {self.task_price} USD = {usd(self.work)}"
        else:
            yield f"work: {self.objects:,} objects × {self.workers} by your own team or vendor: not in this sum"
        if self.service_price is None:
            yield f"prices of {PRICES_OF}, {PRICE_LIST}; where yours differ: 'prices: {{service: …}}' in the settings"
        yield f"estimate: {usd(self.total)}"


def service_cost(objects: int, price: Decimal | None = None) -> Decimal:
    """What the service takes for *objects* in one month: *price* each, or by the price list."""
    if price is not None:
        return objects * price
    cost, before = Decimal(0), 0
    for end, each in SERVICE_TIERS:
        here = max(0, (objects if end is None else min(objects, end)) - before)
        cost, before = cost + here * each, before + here
    return cost


def limited(objects: int, stop_objects: int | None, stop_percent: int | None) -> int:
    """How many of *objects* are labelled under stopping conditions; a percentage is rounded up."""
    limits = [objects]
    if stop_objects is not None:
        limits.append(stop_objects)
    if stop_percent is not None:
        limits.append(-(-objects * stop_percent // 100))
    return min(limits)


def amount(price: Decimal) -> dict[str, int]:
    """*price* as the service wants it: dollars, cents and tenths of a cent."""
    tenths = int((price * 1000).to_integral_value())
    return {
        "Dollars": tenths // 1000,
        "Cents": tenths % 1000 // 10,
        "TenthFractionsOfACent": tenths % 10,
    }


def of_amount(given: dict[str, int]) -> Decimal:
    """The inverse of :func:`amount`; parts that are missing are 0."""
    tenths = given.get("Dollars", 0) * 1000 + given.get("Cents", 0) * 10 + given.get("TenthFractionsOfACent", 0)
    return Decimal(tenths) / 1000


def usd(value: Decimal) -> str:
    """*value* in whole cents, rounded up."""
    return f"{value.quantize(Decimal('0.01'), ROUND_CEILING):,} USD"


def _tiers(objects: int) -> str:
    reached = [
        str(each)
        for (end, each), before in zip(SERVICE_TIERS, (0, 50_000, 1_000_000), strict=True)
        if objects > before or before == 0
    ]
    return f"at {', '.join(reached)} USD" + (" by number" if len(reached) > 1 else "")
