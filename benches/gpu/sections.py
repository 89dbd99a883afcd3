"""Sections in processes of their own: one that fails, hangs or takes too long leaves the others alone."""

import json
import multiprocessing
import os
import signal
import time
import traceback

# Whoever forks must not have opened the GPU: CUDA does not survive it. Importing torch does not open it, and
# importing it once for all sections saves ten seconds each time.
FORK = multiprocessing.get_context("fork")
# How long a process that was told to end may take, in seconds.
GRACE = 5


class Results:
    """What a section found. Kept in a file as it grows, so that a section that is ended leaves what it
    had."""

    def __init__(self, path):
        self.path = path
        self.data = {"status": "unfinished", "tables": [], "figures": {}, "failed": []}

    def table(self, title, head, rows, *notes):
        print(f"\n{title}", *rows, *notes, sep="\n", flush=True)
        self.data["tables"].append(
            {"title": title, "head": head, "rows": rows, "notes": list(notes)})
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


def run(name, section, visit, limit):
    """Runs `section(visit, results)` for at most `limit` seconds; what it found, with its `status`: `ok`,
    `failed` or `out of time`."""
    results = Results(visit.folder / f"{name}.json")
    results.save()
    print(f"\n== {name}, at most {limit:.0f} s", flush=True)
    started = time.monotonic()
    process = FORK.Process(target=inside, args=(section, visit, results))
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
            break
        process.join(GRACE)
        time.sleep(0.1)
