"""The page: tables, and pictures as SVG."""

import html


def lines(path, title, x_label, y_label, series, log_x=False):
    """A chart of lines. `series`: name -> [(x, y)]."""
    import math

    wide, high, left, bottom, top = 640, 360, 70, 50, 40
    place = (lambda x: math.log2(x)) if log_x else (lambda x: x)
    xs = [place(x) for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    low, span, most = min(xs), max(max(xs) - min(xs), 1e-9), max(ys) * 1.1 or 1
    at = lambda x, y: (
        left + (place(x) - low) / span * (wide - left - 150),
        high - bottom - y / most * (high - bottom - top),
    )
    colours = ["#3465a4", "#cc4400", "#4e9a06", "#75507b"]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="22" font-size="15">{html.escape(title)}</text>',
        f'<text x="{(left + wide - 150) / 2}" y="{high - 10}" text-anchor="middle">{html.escape(x_label)}</text>',
        f'<text x="14" y="{high / 2}" transform="rotate(-90 14 {high / 2})" text-anchor="middle">{html.escape(y_label)}</text>',
    ]
    for step in range(5):
        y = most * step / 4
        _, py = at(next(iter(series.values()))[0][0], y)
        out.append(f'<line x1="{left}" x2="{wide - 150}" y1="{py:.1f}" y2="{py:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{py + 4:.1f}" text-anchor="end">{y:.4g}</text>')
    for x in sorted({x for points in series.values() for x, _ in points}):
        px, _ = at(x, 0)
        out.append(f'<text x="{px:.1f}" y="{high - bottom + 18}" text-anchor="middle">{x:g}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = colours[number % len(colours)]
        path_points = " ".join("%.1f,%.1f" % at(x, y) for x, y in points)
        out.append(f'<polyline points="{path_points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in points:
            px, py = at(x, y)
            out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>')
        label = top + 18 * number
        out.append(f'<text x="{wide - 140}" y="{label + 20}" fill="{colour}">{html.escape(name)}</text>')
    path.write_text("\n".join(out + ["</svg>\n"]))


def table(head, rows):
    cells = lambda row, tag: "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row)
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{cells(head, 'th')}</tr>{body}</table>"


def write(out, results):
    sizes = results["sizes"]
    kinds = {
        "embedded, 2 threads": lambda s: s["embedded"]["seconds"],
        "1 executor": lambda s: s["clusters"]["1"]["seconds"],
        "2 executors": lambda s: s["clusters"]["2"]["seconds"],
    }
    lines(
        out / "weak.svg",
        "Seconds by rows",
        "million engagements, and as many messages",
        "seconds",
        {name: [(s["million_rows"], of(s)) for s in sizes] for name, of in kinds.items()},
    )
    lines(
        out / "driver.svg",
        "Peak memory of the driver",
        "million engagements, and as many messages",
        "MB",
        {"2 executors": [(s["million_rows"], s["clusters"]["2"]["driver_peak_mb"]) for s in sizes]},
    )
    reading = results["simulated"]["reading"]
    lines(
        out / "simulated.svg",
        f"Simulated: {100 * max(s['million_rows'] for s in sizes):g} million rows",
        "one-core executors",
        "seconds",
        {"simulated": [(r["executors"], r["seconds"]) for r in reading]},
        log_x=True,
    )
    rows = [
        (
            f"{s['million_rows']:g}",
            f"{s['bytes'] / 1e6:.0f}",
            *(f"{of(s):.1f}" for of in kinds.values()),
            f"{s['clusters']['2']['seconds'] / s['embedded']['seconds']:.2f}",
            f"{s['clusters']['1']['seconds'] / s['clusters']['2']['seconds']:.2f}",
            f"{s['clusters']['2']['driver_peak_mb']:.0f}",
        )
        for s in sizes
    ]
    checks = [
        (f"{c['million_rows']:g}", c["executors"], f"{c['real']:.1f}", f"{c['simulated']:.1f}", f"{100 * c['off']:+.0f} %")
        for c in results["simulated"]["checks"]
    ]
    page = [
        "<!doctype html><meta charset=utf-8><title>graph-recs: scaling</title>",
        "<style>body{font-family:sans-serif;max-width:50em;margin:2em auto}td,th{padding:.2em .8em;text-align:right}</style>",
        "<h1>How the daily job scales</h1>",
        "<p>Medians, in turns, all on one machine; raw numbers in results.json.</p>",
        table(
            ["million rows", "MB", *kinds, "2 executors / embedded", "1 / 2 executors", "driver MB"],
            rows,
        ),
        '<p><img src="weak.svg"> <img src="driver.svg"></p>',
        "<h2>The simulation against real runs</h2>",
        "<p>Each run is foretold from the pieces of the other number of executors.</p>",
        table(["million rows", "executors", "real s", "simulated s", "off"], checks),
        "<h2>A hundred times the largest day</h2>",
        table(["executors", "seconds"], [(r["executors"], f"{r['seconds']:.0f}") for r in reading]),
        '<p><img src="simulated.svg"></p>',
    ]
    (out / "index.html").write_text("\n".join(page) + "\n")
