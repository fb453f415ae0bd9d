"""The rules of last-touch attribution as the demo's truth applies them, each by a case computed by hand."""

import pytest

from ad_lakehouse.demo.last_touch import DAY, Action, Terms, Touch, counted, earner, one_per_order

TERMS = {
    "mine": Terms("a", 7, 2, "every"),
    "sibling": Terms("a", 30, 1, "one"),
    "plain": Terms("a", None, None, None),
    "foreign": Terms("b", 30, 30, "every"),
}
NOW = 100 * DAY


def touch(days: float, campaign: str = "mine", *, click: bool = True, bot: bool = False) -> Touch:
    """A touch so many days before the conversion."""
    return Touch(NOW - int(days * DAY), campaign, click, bot)


def action(days: float = 0, campaign: str = "mine", order: str = "", status: str = "", user: str = "u") -> Action:
    return Action(NOW + int(days * DAY), user, campaign, "purchase", order, status)


@pytest.mark.parametrize(
    ("touches", "gross", "net"),
    [
        ([], None, None),
        ([touch(5), touch(1, "sibling")], "sibling", "sibling"),
        ([touch(5), touch(0.5, "sibling", click=False)], "mine", "mine"),  # a click beats a later view
        ([touch(1.5, click=False), touch(0.5, "sibling", click=False)], "sibling", "sibling"),
        ([touch(7)], "mine", "mine"),  # the window's end belongs to it
        ([touch(7.001)], None, None),
        ([touch(2.001, click=False)], None, None),
        ([touch(-0.001)], None, None),  # after the conversion
        ([touch(0)], "mine", "mine"),
        ([touch(29, "plain")], "plain", "plain"),  # the defaults: 30 days for clicks,
        ([touch(1.001, "plain", click=False)], None, None),  # 1 for views
        ([touch(1, "foreign")], None, None),  # another advertiser's
        ([touch(3), touch(1, "sibling", bot=True)], "sibling", "mine"),
        ([touch(1, bot=True)], "mine", None),
    ],
)
def test_the_last_click_earns_else_the_last_view(touches: list[Touch], gross: str | None, net: str | None) -> None:
    assert earner(action(), touches, TERMS, net=False) == gross
    assert earner(action(), touches, TERMS, net=True) == net


def test_an_order_is_one_conversion_at_its_earliest_record_and_undoing_is_none() -> None:
    first, again = action(0, order="1"), action(0.1, order="1")
    other = action(0.2, order="2")
    undone = [action(1, order="1", status="refunded"), action(1, order="2", status="cancelled")]
    assert one_per_order([again, *undone, other, first]) == [first, other]
    assert one_per_order([action(0, order="3", status="cancelled"), action(1, order="3")]) == [action(1, order="3")]
    assert one_per_order([action(0), action(1)]) == [action(0), action(1)]


def test_counting_one_counts_once_per_click_window_from_the_counted_one() -> None:
    days = (0, 10, 29.9, 30, 45, 61)
    kept = counted([action(each, "sibling") for each in days], TERMS)
    assert [(each.ts - NOW) / DAY for each in kept] == [0, 30, 61]
    assert len(counted([action(each) for each in days], TERMS)) == len(days)
    assert len(counted([action(0, "sibling"), action(1, "sibling", user="v")], TERMS)) == 2
