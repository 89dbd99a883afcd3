"""The table of aims, and the page that everything stands on.

`python3 -m benches.gpu.aims A/visit.json B/visit.json` prints the page of several calls; it needs no torch.
"""

import dataclasses
import json
import pathlib
import sys

from .. import report

MISSING = "not measured"


@dataclasses.dataclass(frozen=True)
class Aim:
    """A figure, what it should be, and what the chip would allow."""

    title: str
    figure: str
    unit: str
    bound: float
    least: bool
    # How many times as fast as the peer, at least.
    ratio: str | None = None
    times: float | None = None
    # From the figures: the ceiling in the same unit, or None.
    ceiling: object = None


def rate(name):
    return lambda figures: figures.get(f"replay_{name}_tokens_per_second")


def rerank_ms(figures):
    """The matrix products of the tokens that are computed."""
    tokens, ceiling = figures.get("rerank_computed_tokens"), rate("0.6b")(figures)
    return 1000 * tokens / ceiling if tokens and ceiling else None


def query_ms(figures):
    """Reading the weights of all layers once: 440 million of them, 2 bytes each. A copy's bandwidth
    counts reading and writing, as this does reading."""
    bandwidth = figures.get("copy_bytes_per_second")
    return 1000 * 2 * 440.4e6 / bandwidth if bandwidth else None


AIMS = [
    Aim("embed 0.6B shape, 512 tokens", "embed_tokens_per_second", "tokens/s", 400_000, True,
        "embed_ratio", 3, rate("0.6b")),
    Aim("embed 0.6B shape, log-normal mix, mean 200", "embed_mix_tokens_per_second", "tokens/s",
        350_000, True, "embed_mix_ratio", 4, rate("0.6b")),
    Aim("embed 4B shape, 512 tokens", "embed_4b_tokens_per_second", "tokens/s", 45_000, True,
        "embed_4b_ratio", None, rate("4b")),
    Aim("rerank 100 x 200 tokens, 0.6B shape, shared prefix", "rerank_ms", "ms", 60, False,
        "rerank_ratio", 3, rerank_ms),
    Aim("one query embedded, p50", "query_p50_ms", "ms", 8, False, ceiling=query_ms),
    Aim("query p99 under full ingest over idle", "lanes_p99_ratio", "times", 2, False),
    Aim("whole pipeline (Kafka to a free sink) over the bare model", "pipeline_share", "of it",
        0.95, True),
]


def row(aim, figures):
    """One line of the table."""
    def side(least):
        return ">=" if least else "<="

    value = figures.get(aim.figure)
    times = figures.get(aim.ratio) if aim.ratio else None
    ceiling = aim.ceiling(figures) if aim.ceiling else None
    wanted = f"{side(aim.least)} {report.amount(aim.bound)} {aim.unit}"
    if aim.times:
        wanted += f", >= {aim.times} times"
    if value is None:
        return [aim.title, wanted, MISSING, "", "", ""]
    met = value >= aim.bound if aim.least else value <= aim.bound
    if aim.times:
        met = met and times is not None and times >= aim.times
    share = (value / ceiling if aim.least else ceiling / value) if ceiling else None
    return [aim.title, wanted, f"{report.amount(value)} {aim.unit}",
            f"{times:.2f}" if times is not None else "",
            f"{report.amount(ceiling)}, {share:.0%} of it" if ceiling else "",
            "yes" if met else "no"]


def sentence(here):
    """Where and with what; the GPU is in the section `facts`."""
    return (f"{here['date']}. {here['processor']['model']}, {here['threads']} cores, load average "
            f"{here['load']} at the start. Livedex {here['livedex']}, rustc {here['rustc']}; "
            f"torch {here['torch']}, transformers {here['transformers']}, sentence-transformers "
            f"{here['sentence-transformers']}, Python {here['python']}.")


def joined(wholes):
    """The results of several calls as those of one: of a section that was in several, those of the last that
    was begun."""
    whole = dict(wholes[0])
    found = {}
    for section in (s for each in wholes for s in each["sections"]):
        if section["name"] not in found or section["status"] != "not run":
            found[section["name"]] = section
    whole["sections"] = list(found.values())
    whole["seconds"] = round(sum(each["seconds"] for each in wholes), 1)
    # Tiny shapes in one are tiny shapes.
    whole["tiny"] = any(each["tiny"] for each in wholes)
    whole["machines"] = [each["machine"] for each in wholes]
    return whole


def page(whole):
    """The results as markdown."""
    figures = {}
    for section in whole["sections"]:
        figures |= section["figures"]
    lines = ["# Visit to a GPU", ""]
    for here in whole.get("machines", [whole["machine"]]):
        lines += [sentence(here), ""]
    if whole["tiny"]:
        lines += ["**A dry run**: tiny shapes, an emulator for the GPU, and torch on the CPU. It shows "
                  "that every section runs; its speeds say nothing.", ""]
    head = ["figure", "aim", "measured", "times the peer", "ceiling", "met"]
    # Tiny shapes meet no aim, nor miss one.
    shown = len(head) - 1 if whole["tiny"] else len(head)
    rows = [row(aim, figures)[:shown] for aim in AIMS]
    lines += ["## Aims", "", report.table(head[:shown], rows, True), "",
              "Ceilings: the replay of the model's own matrix products in torch.matmul in the same "
              "run, without anything else; for one query, reading the weights once.", ""]
    missing = [s["name"] for s in whole["sections"] if s["status"] in ("not run", "out of time")]
    rows = [[s["name"], s["status"], s["seconds"], len(s["failed"]), s.get("error", "")]
            for s in whole["sections"]]
    lines += ["## Sections", "",
              report.table(["section", "", "seconds", "failed checks", "why"], rows, True), "",
              f"{whole['seconds']} s in all.", ""]
    if missing:
        lines += ["Not run, or not to its end, for want of time: `benches/gpu/visit.sh BINARIES "
                  f"ANOTHER_OUT --only {','.join(missing)}` does that.", ""]
    for section in whole["sections"]:
        for what in section["failed"]:
            lines += [f"- {section['name']}: {what}"]
    for section in whole["sections"]:
        for table in section["tables"]:
            lines += ["", f"## {table['title']}", "",
                      report.table(table["head"], table["rows"], True)]
            for note in table["notes"]:
                lines += ["", note]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(joined([json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:]])))
