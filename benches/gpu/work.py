"""How much each section does: on a GPU, and in a dry run."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Work:
    """Shapes are names in `checkpoints.QWEN3`, with the layers that are kept of them (None: all)."""

    small: str
    medium: str
    # The shape whose head is not tied, and its layers: all of them would take too long in f32.
    untied: str
    untied_layers: int | None
    # Ids below it are ordinary tokens.
    vocabulary: int
    # Tokens of the long inputs of parity, and how many sequences its batches have.
    long: int
    batches: tuple[int, ...]
    # The lengths of those sequences: mean and most, in tokens.
    mean: int
    most: int
    # Speed: tokens of a text, sequences of a round for the small and for the medium shape.
    tokens: int
    sequences: int
    medium_sequences: int
    # Budgets to choose from, in tokens, and the peers' batch sizes.
    budgets: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    # A query's candidates, and their tokens.
    candidates: int
    candidate_tokens: int
    # Turns of the contenders.
    rounds: int
    # Passes of one query.
    queries: int
    # Budgets of an ingest batch beside queries, in tokens (0: what the runtime measures); seconds of each measurement; queries per second.
    lane_budgets: tuple[int, ...]
    lane_seconds: float
    lane_rate: float
    # Documents of a round through the whole pipeline, and the tokens of its batches (0: as measured).
    documents: int
    pipeline_budget: int
    # Tokens of the batches whose matrix products are replayed.
    replayed: tuple[int, ...]
    # Numbers of a side of the square product, and bytes that are copied.
    square: int
    copied: int


GPU = Work(
    small="0.6b", medium="4b", untied="8b", untied_layers=4, vocabulary=100_000,
    long=8000, batches=(1, 7, 64, 512), mean=200, most=512,
    tokens=512, sequences=256, medium_sequences=64,
    budgets=(2048, 4096, 8192, 16384, 32768, 65536), batch_sizes=(32, 128, 256),
    candidates=100, candidate_tokens=200, rounds=3, queries=300,
    lane_budgets=(0, 2048, 16384), lane_seconds=8, lane_rate=40,
    documents=500, pipeline_budget=0,
    replayed=(2048, 8192, 32768, 65536), square=8192, copied=4 << 30,
)
# The emulator computes some thousand tokens a second, and what the runtime measures at start has up to 65,536.
TINY = Work(
    small="tiny", medium="tiny", untied="tiny", untied_layers=1, vocabulary=600,
    long=150, batches=(1, 7, 16), mean=12, most=40,
    tokens=24, sequences=6, medium_sequences=3,
    budgets=(64, 128), batch_sizes=(2, 6),
    candidates=3, candidate_tokens=12, rounds=2, queries=5,
    lane_budgets=(64,), lane_seconds=2, lane_rate=1,
    documents=3, pipeline_budget=512,
    replayed=(64,), square=64, copied=1 << 20,
)
