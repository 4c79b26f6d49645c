"""The tables of models in the documentation are those of the code."""

from itertools import groupby

from scoreregs_diffusers.families import FAMILIES, REFUSED
from tests.pages import REPOSITORY

PAGE = REPOSITORY / "docs/diffusers.md"
GUIDANCE = {
    "plain": "$u + s\\,(c - u)$",
    "one more": "$c + s\\,(c - u)$",
    "norm": "$u + s\\,(c - u)$ with the norm of c",
    "none": "by frame: not offered",
}


def names(items) -> str:
    return ", ".join(f"`{item}`" for item in items)


def families() -> str:
    """A row for each family: what a user has to know, and what it is tested against."""
    lines = [
        "| Family | Model | x | The condition has to hold | Guidance | Tested against | Note |",
        "|---|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        cells = [
            family.name,
            names(family.models),
            family.x,
            names(family.needs) or "nothing",
            GUIDANCE[family.guidance],
            names(family.pipelines),
            family.note,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def refused() -> str:
    lines = ["| Refused | Because it is |", "|---|---|"]
    rows = sorted(REFUSED.items(), key=lambda row: (row[1], row[0]))
    for reason, models in groupby(rows, key=lambda row: row[1]):
        lines.append(f"| {names(model for model, _ in models)} | {reason} |")
    return "\n".join(lines)


def test_the_page_has_the_rows_of_the_code():
    text = PAGE.read_text()
    assert families() in text, f"docs/diffusers.md is behind; its table is\n{families()}"
    assert refused() in text, f"docs/diffusers.md is behind; its table is\n{refused()}"
