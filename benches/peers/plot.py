"""Draws the tables of docs/benchmarks.md that have seconds and peak memory, of one section: plot.py SECTION SVG.

A panel a table; a bar a row, with the least and the most of its runs; its memory in words."""

import html
import pathlib
import re
import sys

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "benchmarks.md"
HEAD = "| | seconds | peak memory, MiB |"
ROW = re.compile(r"\| ([^|]+) \| ([\d.]+)(?: \(([\d.]+)-([\d.]+)\))? \| (\d+) \|")
BAR, NAME, WIDE = 22, 380, 880


def tables(section: str):
    """The title of each table (how the paragraph before it begins) and its rows."""
    text = PAGE.read_text().split(f"\n## {section}", 1)[1].split("\n## ", 1)[0]
    paragraphs = [part.strip() for part in text.split("\n\n")]
    for before, table in zip(paragraphs, paragraphs[1:]):
        if table.startswith(HEAD):
            yield re.split(r"[(,]", before)[0].strip(), [row.groups() for row in ROW.finditer(table)]


def main() -> None:
    section, to = sys.argv[1], pathlib.Path(sys.argv[2])
    out, y = [], 20
    for title, rows in tables(section):
        most = max(float(row[3] or row[1]) for row in rows)
        scale = (WIDE - NAME - 170) / most
        out.append(f'<text x="10" y="{y}" font-weight="bold">{html.escape(title)}: seconds, peak memory</text>')
        y += 12
        for name, seconds, least, highest, mib in rows:
            ours = name.startswith("graph-recs")
            end = NAME + float(seconds) * scale
            middle = y + BAR / 2
            name = re.sub(r"`", "", name)
            out.append(f'<text x="{NAME - 8}" y="{middle + 4}" text-anchor="end" font-size="11">{html.escape(name)}</text>')
            out.append(f'<rect x="{NAME}" y="{y + 3}" width="{end - NAME:.1f}" height="{BAR - 6}" fill="{"#2a7f62" if ours else "#b0b7c3"}"/>')
            if least:
                low, high = (NAME + float(value) * scale for value in (least, highest))
                out.append(f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#222"/>')
                end = max(end, high)
            out.append(f'<text x="{end + 6:.1f}" y="{middle + 4}" font-size="11">{seconds} s, {mib} MiB</text>')
            y += BAR
        y += 30
    style = 'font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDE}" height="{y - 20}" {style}><rect width="100%" height="100%" fill="#fff"/>'
    to.write_text("\n".join([head, *out, "</svg>\n"]))


main()
