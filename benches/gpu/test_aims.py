"""`python3 -m unittest benches.gpu.test_aims`: what the table of aims says. Needs no torch."""

import unittest

from . import aims


class Rows(unittest.TestCase):
    def row(self, figure, **figures):
        aim = next(aim for aim in aims.AIMS if aim.figure == figure)
        return aims.row(aim, figures)[2:]

    def test_what_was_not_measured_is_said(self):
        self.assertEqual(self.row("embed_tokens_per_second"), [aims.MISSING, "", "", ""])

    def test_a_rate_is_held_to_its_ceiling_and_its_peer(self):
        figures = {"replay_0.6b_tokens_per_second": 600_000}
        enough = self.row("embed_tokens_per_second", embed_tokens_per_second=450_000, embed_ratio=3.2,
                          **figures)
        self.assertEqual(enough, ["450,000 tokens/s", "3.20", "600,000, 75% of it", "yes"])
        # Fast, but no faster than it should be beside the peer; and the other way round.
        for rate, ratio in [(450_000, 2.9), (390_000, 3.2)]:
            short = self.row("embed_tokens_per_second", embed_tokens_per_second=rate,
                             embed_ratio=ratio, **figures)
            self.assertEqual(short[-1], "no")

    def test_a_ratio_that_is_missing_is_not_met(self):
        self.assertEqual(self.row("rerank_ms", rerank_ms=40)[-1], "no")

    def test_a_time_is_held_to_its_ceiling_from_above(self):
        found = self.row("rerank_ms", rerank_ms=50, rerank_ratio=4, rerank_computed_tokens=20_000,
                         **{"replay_0.6b_tokens_per_second": 800_000})
        self.assertEqual(found, ["50.0 ms", "4.00", "25.0, 50% of it", "yes"])
        self.assertEqual(self.row("query_p50_ms", query_p50_ms=9)[-1], "no")


def call(*sections, seconds=1.0, date="one"):
    here = dict.fromkeys(("livedex", "rustc", "torch", "transformers", "sentence-transformers",
                          "python", "threads", "load"), "") | {"date": date, "processor": {"model": ""}}
    whole = [{"name": name, "status": status, "seconds": 1, "failed": [], "tables": [],
              "figures": figures} for name, status, figures in sections]
    return {"tiny": False, "machine": here, "seconds": seconds, "sections": whole}


class Pages(unittest.TestCase):
    def test_what_time_was_wanting_for_is_named(self):
        page = aims.page(call(("embed", "ok", {}), ("lanes", "out of time", {}),
                              ("pipeline", "not run", {}), ("rerank", "failed", {})))
        self.assertIn("ANOTHER_OUT --only lanes,pipeline`", page)

    def test_calls_are_joined_by_section(self):
        first = call(("embed", "ok", {"embed_ratio": 3}), ("lanes", "out of time", {}),
                     ("latency", "ok", {"query_p50_ms": 5}))
        second = call(("lanes", "ok", {"lanes_p99_ratio": 1.5}), ("latency", "not run", {}),
                      ("pipeline", "not run", {}), seconds=2.5, date="two")
        whole = aims.joined([first, second])
        self.assertEqual([(s["name"], s["status"]) for s in whole["sections"]],
                         [("embed", "ok"), ("lanes", "ok"), ("latency", "ok"), ("pipeline", "not run")])
        self.assertEqual(whole["seconds"], 3.5)
        page = aims.page(whole)
        for expected in ("one. ", "two. ", "5.00 ms", "1.50 times", "--only pipeline`"):
            self.assertIn(expected, page)


if __name__ == "__main__":
    unittest.main()
