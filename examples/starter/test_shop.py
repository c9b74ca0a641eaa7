"""Given these events, when a command runs, then it decides these events."""

from fait.testing import given

from shop import Cart, CheckedOut, ItemAdded, Product


def test_item_is_added_to_a_cart() -> None:
    given(Cart).when(Cart.add, "tea", 2).then(ItemAdded("tea", 2))


def test_cart_that_is_checked_out_gets_no_items() -> None:
    case = given(Cart, ItemAdded("tea", 2), CheckedOut())
    case.when(Cart.add, "mug", 1).rejected("checked out")


def test_pieces_of_a_product_are_counted() -> None:
    case = given(Product, ItemAdded("tea", 2), ItemAdded("tea", 1))
    case.rows(Product(sku="tea", pieces=3))
