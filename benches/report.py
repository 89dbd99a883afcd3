"""Tables for a terminal or for a markdown page, and the results as JSON."""

import json
import pathlib


def table(head, rows, markdown):
    """Columns of equal width; the first is left-aligned, the others right-aligned."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row):
        parts = [row[0].ljust(widths[0])]
        parts += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        return f"| {' | '.join(parts)} |" if markdown else "  ".join(parts)

    rule = [w * "-" for w in widths]
    if markdown:
        rule = [rule[0]] + [r[:-1] + ":" for r in rule[1:]]
    return "\n".join(line(row).rstrip() for row in [cells[0], rule, *cells[1:]])


class Report:
    """Prints sections as they are measured and keeps them."""

    def __init__(self, machine, sentence, markdown):
        self.markdown = markdown
        self.results = {"machine": machine, "sections": []}
        print(sentence, flush=True)

    def section(self, title, head, rows, notes, data):
        """`data` is what the table was made from."""
        print(f"\n{'### ' if self.markdown else ''}{title}\n", flush=True)
        print(table(head, rows, self.markdown), flush=True)
        for note in notes:
            print(f"\n{note}", flush=True)
        self.results["sections"].append({"title": title, "head": head, "rows": rows,
                                         "notes": notes, "data": data})

    def write(self, path):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.results, indent=1) + "\n")


def amount(value):
    """Three significant digits, without an exponent."""
    if value >= 1000:
        return f"{round(value, 2 - len(str(int(value))) + 1):,.0f}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"
