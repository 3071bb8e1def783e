"""From rounds of figures to a table, JSON and one SVG chart."""

import math
import statistics
from xml.sax.saxutils import escape

UNIT = "null sink"
EXTRA = ("system_calls", "allocations", "copied", "records_per_commit")
WORKS = ("discard", "store", "verify")


def summary(results, described):
    """One row per size and server: medians, extremes, ratio to the null sink. `described` gives
    each server's work and comment by its name."""
    rows = []
    for size, by_server in results.items():
        unit = by_server.get(UNIT)
        floor = statistics.median(f["cpu_us"] for f in unit) if unit else None
        for name, rounds in by_server.items():
            if not rounds:
                continue
            cpu = [figures["cpu_us"] for figures in rounds]
            work, comment = described[name]
            row = {"size_kib": size, "server": name, "work": work, "comment": comment,
                   "rounds": len(rounds),
                   "cpu_us_per_message": {"median": statistics.median(cpu), "min": min(cpu),
                                          "max": max(cpu)},
                   "messages_per_second": statistics.median(f["rate"] for f in rounds),
                   "memory_bytes": statistics.median(f["memory"] for f in rounds)}
            row["ratio_to_null_sink"] = (row["cpu_us_per_message"]["median"] / floor
                                         if floor else None)
            for key in EXTRA:
                values = [figures[key] for figures in rounds if key in figures]
                row[key] = statistics.median(values) if values else None
            rows.append(row)
    return rows


def number(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def print_cells(cells, left=1):
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    last = None
    for line in cells:
        if last not in (None, line[0]):
            print()
        last = line[0] if line is not cells[0] else None
        print("  ".join(cell.ljust(width) if i == left else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(line, widths))).rstrip())


def print_receivers(rows):
    """mxring in detail, by size."""
    cells = [("KiB", "server", "CPU us/msg", "min - max", "msg/s", "ratio", "calls/msg",
              "allocs/msg", "copied B/B", "msgs/commit")]
    for row in rows:
        cpu = row["cpu_us_per_message"]
        cells.append((str(row["size_kib"]), row["server"], number(cpu["median"], 1),
                      f"{cpu['min']:.1f} - {cpu['max']:.1f}", number(row["messages_per_second"], 0),
                      number(row["ratio_to_null_sink"], 2), number(row["system_calls"], 2),
                      number(row["allocations"], 3), number(row["copied"], 4),
                      number(row["records_per_commit"], 1)))
    print_cells(cells)


def print_peers(rows):
    """Everybody, by work and cost."""
    cells = [("work", "server", "CPU us/msg", "min - max", "null sinks", "msg/s", "MiB")]
    for row in ordered(rows):
        cpu = row["cpu_us_per_message"]
        work = row["work"] + (f", {row['size_kib']} KiB" if len({r["size_kib"] for r in rows}) > 1
                              else "")
        cells.append((work, row["server"], number(cpu["median"], 1),
                      f"{cpu['min']:.1f} - {cpu['max']:.1f}",
                      number(row["ratio_to_null_sink"], 1), number(row["messages_per_second"], 0),
                      number(row["memory_bytes"] / 2**20, 0)))
    print_cells(cells)
    print()
    for row in ordered(rows):
        if row["comment"]:
            print(f"  {row['server']}: {row['comment']}")


def ordered(rows):
    return sorted(rows, key=lambda row: (row["size_kib"], WORKS.index(row["work"]),
                                         row["cpu_us_per_message"]["median"]))


# --- the chart ---------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT, TOP, LINE = 860, 230, 150, 84, 22
OURS, THEIRS, GREY = "#d55e00", "#0072b2", "#777777"


def chart(rows, title, subtitle):
    """A line for each server with its median and its extremes, on a logarithmic axis."""
    rows = ordered(rows)
    values = [row["cpu_us_per_message"] for row in rows]
    low = 10 ** math.floor(math.log10(min(value["min"] for value in values)))
    high = 10 ** math.ceil(math.log10(max(value["max"] for value in values)))
    groups = [work for work in WORKS if any(row["work"] == work for row in rows)]
    height = TOP + LINE * (len(rows) + 2 * len(groups)) + 60

    def x(value):
        return LEFT + math.log(value / low) / math.log(high / low) * (WIDTH - LEFT - RIGHT)

    def text(at_x, at_y, words, anchor="start", more=""):
        return (f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}"{more}>'
                f"{escape(words)}</text>")

    floor = height - 44
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="13" '
           'fill="#222">',
           '<rect width="100%" height="100%" fill="#fff"/>',
           text(20, 28, title, more=' font-size="17" font-weight="bold"'),
           text(20, 50, subtitle, more=' fill="#555"')]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        for factor in (1, 2, 5):
            tick = factor * 10 ** power
            if not low <= tick <= high:
                continue
            out.append(f'<line x1="{x(tick):.1f}" y1="{TOP - 8}" x2="{x(tick):.1f}" y2="{floor}" '
                       'stroke="#e2e2e2"/>')
            out.append(text(x(tick), floor + 18, f"{tick:,}", "middle"))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, floor + 38,
                    "CPU microseconds per message, all processes (logarithmic)", "middle"))
    y = TOP
    for work in groups:
        out.append(text(20, y + LINE * 0.8, {"discard": "received and dropped",
                                             "store": "stored before 250",
                                             "verify": "verified before 250"}[work],
                        more=' font-weight="bold"'))
        y += LINE
        for row in (row for row in rows if row["work"] == work):
            cpu = row["cpu_us_per_message"]
            colour = (OURS if row["server"].startswith("mxring") else
                      GREY if row["server"] == UNIT else THEIRS)
            middle = y + LINE * 0.6
            out.append(text(LEFT - 10, middle + 4, row["server"], "end"))
            out.append(f'<line x1="{LEFT}" y1="{middle:.1f}" x2="{x(cpu["median"]):.1f}" '
                       f'y2="{middle:.1f}" stroke="{colour}" stroke-opacity="0.35" '
                       'stroke-width="5"/>')
            out.append(f'<line x1="{x(cpu["min"]):.1f}" y1="{middle:.1f}" x2="{x(cpu["max"]):.1f}" '
                       f'y2="{middle:.1f}" stroke="{colour}" stroke-width="2"/>')
            out.append(f'<circle cx="{x(cpu["median"]):.1f}" cy="{middle:.1f}" r="4.5" '
                       f'fill="{colour}"/>')
            ratio = row["ratio_to_null_sink"]
            label = f"{cpu['median']:,.0f} µs" + (f"  ×{ratio:,.1f}" if ratio else "")
            out.append(text(x(cpu["max"]) + 10, middle + 4, label, more=f' fill="{colour}"'))
            y += LINE
        y += LINE
    return "\n".join(out) + "\n</svg>\n"
