"""Horizontal bars on a logarithmic scale, as an SVG picture."""

from __future__ import annotations

import math
from html import escape

WIDTH, LABEL, BAR, GAP = 760, 200, 22, 8


def bars(groups: dict[str, dict[str, float]]) -> str:
    """One group of bars for each title, each with its value."""
    parts: list[str] = []
    y = 10
    for title, values in groups.items():
        parts.append(f'<text x="10" y="{y + 16}" font-weight="bold">{escape(title)}</text>')
        y += 28
        low = math.log10(min(values.values())) - 0.3
        span = math.log10(max(values.values())) - low
        for name, value in values.items():
            width = (WIDTH - LABEL - 110) * (math.log10(value) - low) / span
            color = "#2b6cb0" if name.startswith("klaw") else "#a0aec0"
            parts += [
                f'<text x="{LABEL - 6}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{LABEL}" y="{y}" width="{width:.0f}" height="{BAR}" fill="{color}"/>',
                f'<text x="{LABEL + width + 6:.0f}" y="{y + 16}">{value:,.0f}</text>',
            ]
            y += BAR + GAP
        y += 14
    size = f'width="{WIDTH}" height="{y}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect {size} fill="white"/>', *parts, "</svg>", ""])
