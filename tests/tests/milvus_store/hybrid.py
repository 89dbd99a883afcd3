"""Milvus' own hybrid search, asked by its own client: a search by embedding and one by words,
fused by RRFRanker(60). The request comes as JSON on standard input, the ids and scores go out as
JSON."""

import json
import sys

from pymilvus import AnnSearchRequest, MilvusClient, RRFRanker

asked = json.load(sys.stdin)
client = MilvusClient(uri=asked["uri"])


def route(data, field, metric):
    return AnnSearchRequest(
        data=[data],
        anns_field=field,
        param={"metric_type": metric},
        limit=asked["candidates"],
        expr=asked["filter"],
    )


found = client.hybrid_search(
    collection_name=asked["collection"],
    reqs=[
        route(asked["vector"], "vector", "COSINE"),
        route(asked["text"], "words", "BM25"),
    ],
    ranker=RRFRanker(60),
    limit=asked["limit"],
    consistency_level="Strong",
)
json.dump([[hit["id"], hit["distance"]] for hit in found[0]], sys.stdout)
