"""Seconds of work on a GPU or on the CPU."""

import statistics
import time

import torch


class Clock:
    """A device's clock: on a GPU its own events, since its work goes on by itself."""

    def __init__(self, device):
        self.cuda = device == "cuda"

    def once(self, run):
        if not self.cuda:
            start = time.perf_counter()
            run()
            return time.perf_counter() - start
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000

    def median(self, run, times, warm_up=3):
        for _ in range(warm_up):
            run()
        return statistics.median(self.once(run) for _ in range(times))
