"""Contenders taking turns, so that what else the machine does meets all of them."""

import statistics


# Rounds of a contender that is too slow for all of them.
SELDOM = 2


def interleaved(contenders, rounds, seldom=()):
    """Runs every contender once as a warm-up, then `rounds` times A B C, A B C, ...

    `contenders` maps names to functions that return seconds (a number, or a list of them); those
    in `seldom` have no warm-up and take part in the first rounds only. Returns the seconds of each
    name, round by round.
    """
    for name, run in contenders.items():
        if name not in seldom:
            run()
    seconds = {name: [] for name in contenders}
    for n in range(rounds):
        for name, run in contenders.items():
            if n < SELDOM or name not in seldom:
                result = run()
                seconds[name].append(
                    statistics.median(result) if isinstance(result, list) else result)
    return seconds


def ratio(seconds, name, reference):
    """How many times as fast as `reference`: the median, over the rounds that
    both took part in, of that round's ratio."""
    return statistics.median(r / s for r, s in zip(seconds[reference], seconds[name]))


def fastest(candidates, run):
    """The candidate with the shortest `run(candidate)`, after a warm-up that does not count."""
    candidates = list(candidates)
    if len(candidates) == 1:
        return candidates[0]
    run(candidates[-1])
    return min(candidates, key=run)
