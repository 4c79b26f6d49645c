"""What the documentation's build reads, refuses and shortens."""

from dataclasses import dataclass

import pytest

import scoreregs
from docs.extensions.completeness import missing, without_docstring
from docs.extensions.docstrings import to_restructured_text
from docs.extensions.included_links import relocated
from docs.extensions.type_aliases import shorten


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a $t$ in [0, 1]", "a :math:`t` in [0, 1]"),
        ("$t$s", ":math:`t`\\ s"),
        ("(batch, *event)", "(batch, \\*event)"),
        ("the |Q| that", "the \\|Q| that"),
        ("`x_` and x_ and `$HOME`", "`x_` and x\\_ and `$HOME`"),
        ("$$ a\n   b. $$\n\nThen", ".. math::\n\n   a\n   b.\n\n\nThen"),
        ("    $$ a $$,", "    .. math::\n\n       a,\n"),
        (">>> f(*args)  # $5\n1\n\n*args", ">>> f(*args)  # $5\n1\n\n\\*args"),
        (
            "  | a | b |\n  |---|---|\n  | $x|y$ | `*` |\n",
            "  .. list-table::\n     :header-rows: 1\n\n     * - a\n       - b\n"
            "     * - :math:`x|y`\n       - `*`\n",
        ),
    ],
)
def test_markdown_of_docstrings(written, read):
    lines = [line.rstrip() for line in to_restructured_text(written).splitlines()]
    assert lines == read.splitlines()


def test_names_without_docstring():
    class Bare:
        def method(self): ...

    class Described:
        """Something."""

        def method(self):
            """Something."""

        def other(self): ...

        def _private(self): ...

    class Derived(Described):
        """Something."""

        def method(self): ...

    @dataclass
    class Record:
        field: int

    assert list(without_docstring("m.Bare", Bare)) == ["m.Bare", "m.Bare.method"]
    assert list(without_docstring("m.Described", Described)) == ["m.Described.other"]
    assert not list(without_docstring("m.Derived", Derived))
    assert list(without_docstring("m.Record", Record)) == ["m.Record"]
    assert list(without_docstring("m.f", lambda: None)) == ["m.f"]
    assert not list(without_docstring("m.ALIAS", int | str))


def test_public_names_have_to_be_in_the_reference():
    complaints = list(missing({"scoreregs.VPSchedule"}, ("scoreregs", "scoreregs.schedules")))
    assert not [complaint for complaint in complaints if ".VPSchedule" in complaint]
    expected = "scoreregs.fit_prior is not in the API reference: add it to a page of docs/api"
    assert expected in complaints


def test_a_public_name_without_docstring_is_refused(monkeypatch):
    def undocumented(): ...

    monkeypatch.setattr(scoreregs, "undocumented", undocumented, raising=False)
    monkeypatch.setattr(scoreregs, "__all__", ["undocumented"])
    complaints = list(missing({"scoreregs.undocumented"}, ("scoreregs",)))
    assert complaints == ["scoreregs.undocumented has no docstring"]


def test_links_of_included_pages():
    page = "[a](b.json) ![c](../d.png) [e](https://f.g) [h](#i)"
    moved = "[a](../x/b.json) ![c](../x/../d.png) [e](https://f.g) [h](#i)"
    assert relocated(page, "../x") == moved


def test_aliases_are_named_in_signatures():
    inner = "Tensor | dict[str, Condition] | list[Condition] | tuple[Condition, ...] | None"
    outer = f"~torch.Tensor | dict[str, {inner}] | list[{inner}] | tuple[{inner}, ...] | None"
    assert shorten(f"(c: {inner})") == "(c: ~scoreregs.trees.Condition)"
    assert shorten(f"(c: {outer} = None)") == "(c: ~scoreregs.trees.Condition = None)"
    assert (
        shorten("(w: ~typing.Literal['l2', 'rms', 'batch', 'clipped'])")
        == "(w: ~scoreregs.kernel.Normalization)"
    )
    assert shorten(None) is None
