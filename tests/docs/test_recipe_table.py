"""The table of recipes on its page is the one that the objects give."""

import pytest

from docs.recipe_table import HEAD, PAGE, page_with, row, table
from scoreregs import recipes


def test_the_page_has_the_table():
    assert table() in PAGE.read_text(), "run python -m docs.recipe_table"


def test_every_recipe_has_a_formula_on_the_page():
    text = PAGE.read_text()
    assert all(text.count(f"\n| `{name}` |") == 2 for name in recipes.__all__)


def test_a_row_says_what_the_objective_is():
    assert row("dtql")[1:5] == ("yes", "as given", "a function of the log-SNR", "`NoiseBaseline`")
    assert row("dtql")[-1] == "through the prior"
    assert row("nfsd")[2] == "`CombinedPrior`"
    assert row("vsd")[1:3] == ("optional", "as given, and a trained one")


def test_a_page_keeps_what_is_around_its_table():
    old = f"above\n| {' | '.join(HEAD)} |\n|---|\n| `gone` |\n\nbelow\n"
    assert page_with("new", old) == "above\nnew\n\nbelow\n"
    with pytest.raises(AssertionError):
        page_with("new", "no table")
