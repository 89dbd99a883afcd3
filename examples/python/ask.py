"""Asks a Livedex service over NATS.

Shows what a client needs: a filter, a deadline that the service knows of, reading one's own writes,
typed errors, and one retry when the service says that it may help.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time

import nats
from nats.errors import NoRespondersError, NoServersError
from nats.errors import TimeoutError as NatsTimeout

SUBJECT = "livedex.query"


class LivedexError(Exception):
    """error.v1: `code` decides what to do, `message` is for people."""

    def __init__(self, body):
        super().__init__(f"{body['code']}: {body['message']}")
        self.code = body["code"]
        self.field = body.get("field")
        self.retry_after_ms = body.get("retry_after_ms")
        self.missing = body.get("missing", [])


async def ask_once(connection, request, seconds):
    """Sends the request and waits so long for its reply, of which the service is told."""
    answer = await connection.request(
        SUBJECT,
        json.dumps(request).encode(),
        timeout=seconds,
        headers={"Livedex-Deadline-Ms": str(int(seconds * 1000))},
    )
    body = json.loads(answer.data)
    if answer.headers and "Nats-Service-Error-Code" in answer.headers:
        raise LivedexError(body)
    return body


async def ask(connection, request, timeout_ms):
    """Asks once more if the service says when that may work and there is time for it."""
    end = time.monotonic() + timeout_ms / 1000
    try:
        return await ask_once(connection, request, timeout_ms / 1000)
    except LivedexError as error:
        if error.retry_after_ms is None:
            raise
        # Not all callers come back at the same moment.
        pause = error.retry_after_ms / 1000 * random.uniform(1, 1.5)
        left = end - time.monotonic() - pause
        if left <= 0:
            raise
        print(f"{error}; asking again in {pause * 1000:.0f} ms", file=sys.stderr)
        await asyncio.sleep(pause)
        return await ask_once(connection, request, left)


def written(path):
    """Where records went, from what `livedex publish --json` prints: the last of each partition."""
    last = {}
    with open(path, encoding="utf-8") as lines:
        for line in filter(str.strip, lines):
            record = json.loads(line)
            place = (record["topic"], record["partition"])
            last[place] = max(record["offset"], last.get(place, 0))
    return [{"topic": t, "partition": p, "offset": o} for (t, p), o in last.items()]


async def lost(error):
    print(f"nats: {error}", file=sys.stderr)


async def main():
    parser = argparse.ArgumentParser(description="Asks a Livedex service over NATS.")
    parser.add_argument("question")
    parser.add_argument("--lang", help="only documents whose metadata has this `lang`")
    parser.add_argument("--after", metavar="FILE", help="wait for the records in this file")
    parser.add_argument("--top-k", type=int, default=5)
    parser.add_argument("--timeout-ms", type=int, default=5000)
    args = parser.parse_args()

    request = {"query": args.question, "top_k": args.top_k}
    if args.lang is not None:
        request["filter"] = {"eq": {"field": "metadata.lang", "value": args.lang}}
    if args.after is not None:
        request["after"] = written(args.after)

    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    try:
        # By itself it would try for two minutes, and print a traceback each time.
        connection = await nats.connect(url, max_reconnect_attempts=1, error_cb=lost)
    except NoServersError:
        sys.exit("no connection to NATS: is NATS_URL right?")
    try:
        reply = await ask(connection, request, args.timeout_ms)
    except LivedexError as error:
        for record in error.missing:
            print(f"not there yet: {record}", file=sys.stderr)
        sys.exit(str(error))
    except NoRespondersError:
        sys.exit(f"nobody listens on {SUBJECT}: start `livedex serve`")
    except NatsTimeout:
        sys.exit(f"no answer within {args.timeout_ms} ms")
    finally:
        await connection.close()

    if "degraded" in reply:
        print(f"not all of it was reranked: {reply['degraded']['reason']}", file=sys.stderr)
    for hit in reply["hits"]:
        print(hit["chunk_id"], f"{hit['score']:.3f}", hit["document_id"], sep="\t")


asyncio.run(main())
