"""Sections in processes of their own: one that fails, hangs or takes too long leaves the others alone."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time
import traceback

# How long a process that was told to end may take, in seconds.
GRACE = 5


@dataclasses.dataclass(frozen=True)
class Section:
    """What runs, with the visit and its `Results`, and how long."""

    run: object
    # Seconds that it wants for what it is there for: with less left it is not begun.
    least: float
    # Seconds after which it is ended.
    most: float


def start_method(broken):
    """`fork`, or `spawn` if `broken()` is true in a process that was forked.

    A fork has torch imported already, which saves ten seconds a section. But CUDA does not survive one, and
    asking it a question is enough: torch.cuda.is_available() in any of the imported packages would make all
    sections fail.
    """
    child = multiprocessing.get_context("fork").Process(target=leave, args=(broken,))
    child.start()
    child.join(GRACE)
    if child.exitcode == 0:
        return "fork"
    child.kill()
    return "spawn"


def leave(broken):
    # No exit handlers: they are the parent's.
    os._exit(int(broken()))


class Results:
    """What a section found. Kept in a file as it grows, so that a section that is ended leaves what it
    had."""

    def __init__(self, path):
        self.path = path
        self.data = {"status": "unfinished", "tables": [], "figures": {}, "failed": []}

    def table(self, title, head, rows, *notes):
        """Rows that are measured one after the other are better added one by one: see `row`."""
        print(f"\n{title}", *rows, *notes, sep="\n", flush=True)
        self.data["tables"].append(
            {"title": title, "head": head, "rows": list(rows), "notes": list(notes)})
        self.save()

    def row(self, *cells):
        """One more row of the last table."""
        print(*cells, sep="  ", flush=True)
        self.data["tables"][-1]["rows"].append(list(cells))
        self.save()

    def figure(self, name, value):
        """A number by its name, for the table of aims and for whoever reads the JSON."""
        print(f"{name}: {value}", flush=True)
        self.data["figures"][name] = value
        self.save()

    def failed(self, what):
        """A check that did not hold."""
        print(f"FAILED: {what}", flush=True)
        self.data["failed"].append(what)
        self.save()

    def end(self, status, error=None):
        self.data |= {"status": status} | ({"error": error} if error else {})
        self.save()

    def save(self):
        whole = self.path.with_suffix(".partial")
        whole.write_text(json.dumps(self.data))
        whole.rename(self.path)


def run(name, section, visit, left, method="fork"):
    """Runs a section that has `left` seconds at most; what it found, with its `status`: `ok`, `failed`,
    `out of time` or `not run`. A process that hears of nothing takes 2 * `GRACE` more to be ended."""
    results = Results(visit.folder / f"{name}.json")
    if left < section.least:
        why = f"{max(left, 0):.0f} s were left, it wants {section.least:.0f}"
        print(f"\n== {name}: not run, {why}", flush=True)
        return results.data | {"name": name, "status": "not run", "error": why, "seconds": 0}
    results.save()
    limit = min(section.most, left)
    print(f"\n== {name}, at most {limit:.0f} s", flush=True)
    started = time.monotonic()
    process = multiprocessing.get_context(method).Process(
        target=inside, args=(section.run, visit, results))
    process.start()
    process.join(limit)
    late = process.is_alive()
    end(process)
    data = json.loads(results.path.read_text())
    if late:
        data["status"], data["error"] = "out of time", f"ended after {limit:.0f} s"
    elif data["status"] == "unfinished":
        data["status"] = "failed"
        data["error"] = f"the process ended with {process.exitcode}"
    data |= {"name": name, "seconds": round(time.monotonic() - started, 1)}
    print(f"== {name}: {data['status']}, {data['seconds']} s", flush=True)
    return data


def inside(section, visit, results):
    """The process of a section."""
    # A group, so that what it started ends with it. Not a session: the group must end with this terminal too.
    os.setpgid(0, 0)
    try:
        section(visit, results)
        results.end("failed" if results.data["failed"] else "ok")
    except Exception as error:  # noqa: BLE001: it is what was found
        traceback.print_exc()
        # The first line: the log has the others.
        results.end("failed", f"{type(error).__name__}: {error}".splitlines()[0][:200])


def end(process):
    """Ends the section's process and whatever it left behind."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
        except ProcessLookupError:
            # Over, or spawned and still importing: then it has no group yet.
            process.kill()
            process.join(GRACE)
            break
        process.join(GRACE)
        time.sleep(0.1)
