"""`python3 -m unittest benches.gpu.test_sections`: one section must not take the others with it. Needs no
torch."""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import types
import unittest
from unittest import mock

from . import sanitizer, sections
from .sections import Section


def good(visit, results):
    results.figure("answer", 42)


def wrong(visit, results):
    results.failed("an answer")


def raises(visit, results):
    results.figure("first", 1)
    raise ValueError("of two lines\nof which one is told")


def dies(visit, results):
    os.kill(os.getpid(), signal.SIGKILL)


def late(visit, results):
    results.table("Of two rows", ["", ""], [], "A note.")
    results.row("first", 1)
    time.sleep(600)


def hangs(visit, results):
    results.figure("first", 1)
    # What a hung kernel does to its process: it hears of nothing, and neither does its child.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"])
    (visit.folder / "child").write_text(str(child.pid))
    child.wait()


def is_running(pid):
    """Whether there is such a process, and not only its exit code."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class Sections(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.visit = types.SimpleNamespace(folder=pathlib.Path(folder.name))

    def run_section(self, section, left=30, least=0, most=30, method="fork"):
        return sections.run(section.__name__, Section(section, least, most), self.visit, left, method)

    def test_a_section_is_ok_only_if_nothing_failed(self):
        found = self.run_section(good)
        self.assertEqual((found["status"], found["figures"]), ("ok", {"answer": 42}))
        found = self.run_section(wrong)
        self.assertEqual((found["status"], found["failed"]), ("failed", ["an answer"]))

    def test_what_was_found_before_an_error_stays(self):
        found = self.run_section(raises)
        self.assertEqual(found["status"], "failed")
        self.assertEqual(found["error"], "ValueError: of two lines")
        self.assertEqual(found["figures"], {"first": 1})

    def test_a_process_that_dies_is_a_failure(self):
        found = self.run_section(dies)
        self.assertEqual((found["status"], found["error"]), ("failed", "the process ended with -9"))

    def test_a_section_that_hangs_is_ended_with_what_it_started(self):
        sections.GRACE = 1
        found = self.run_section(hangs, most=2)
        self.assertEqual((found["status"], found["figures"]), ("out of time", {"first": 1}))
        child = int((self.visit.folder / "child").read_text())
        deadline = time.monotonic() + 10
        while is_running(child):
            self.assertLess(time.monotonic(), deadline, "what it started is still there")
            time.sleep(0.05)

    def test_rows_of_a_section_that_is_late_stay(self):
        found = self.run_section(late, left=1)
        self.assertEqual((found["status"], found["error"]), ("out of time", "ended after 1 s"))
        table = {"title": "Of two rows", "head": ["", ""], "rows": [["first", 1]], "notes": ["A note."]}
        self.assertEqual(found["tables"], [table])

    def test_a_section_that_cannot_end_in_time_is_not_begun(self):
        found = self.run_section(dies, left=9.6, least=20)
        self.assertEqual((found["status"], found["error"]), ("not run", "10 s were left, it wants 20"))
        self.assertEqual((found["figures"], found["failed"], found["tables"]), ({}, [], []))

    def test_sections_run_where_they_cannot_be_forked(self):
        for section, status in ((good, "ok"), (dies, "failed")):
            self.assertEqual(self.run_section(section, method="spawn")["status"], status)

    def test_a_section_that_is_still_being_spawned_is_ended(self):
        # It has no group of its own so early, nor anything that could have been found.
        found = self.run_section(hangs, left=0.01, method="spawn")
        self.assertEqual(found["status"], "out of time")
        self.assertEqual(multiprocessing.active_children(), [])

    def test_a_fork_that_is_broken_is_seen(self):
        self.assertEqual(sections.start_method(lambda: False), "fork")
        self.assertEqual(sections.start_method(lambda: True), "spawn")


# What stands in for compute-sanitizer: memcheck runs the suite, racecheck never ends, nor does what it started.
TOOL = """#!/bin/sh
if [ "$2" = racecheck ]; then sleep 600 & wait; fi
echo "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 47 filtered out"
"""


class Sanitizer(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.visit = types.SimpleNamespace(folder=self.folder, binaries=self.folder, tiny=False,
                                           environment=lambda **more: more)

    def rows(self):
        """Of its table, with programs from the folder before those of this machine."""
        with mock.patch.dict(os.environ, PATH=f"{self.folder}:{os.environ['PATH']}"), \
                mock.patch.object(sanitizer, "SECONDS", 1):
            found = sections.run("sanitizer", Section(sanitizer.run, 0, 20), self.visit, 20)
        self.assertEqual(found["status"], "ok")
        return found["tables"][0]["rows"]

    def test_a_machine_without_it_is_no_failure(self):
        with mock.patch("shutil.which", return_value=None):
            self.assertEqual([row[0] for row in self.rows()], ["skipped"])

    def test_a_tool_that_hangs_costs_its_own_row_alone(self):
        tool = self.folder / "compute-sanitizer"
        tool.write_text(TOOL)
        tool.chmod(0o755)
        self.assertEqual(self.rows(), [["memcheck", "exit 0, 2 tests passed"],
                                       ["racecheck", "not done in 1 s"]])


if __name__ == "__main__":
    unittest.main()
