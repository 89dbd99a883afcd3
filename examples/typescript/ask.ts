// Asks a Livedex service over NATS.
//
// Shows what a client needs: a filter, a deadline that the service knows of, reading one's own writes,
// typed errors, and one retry when the service says that it may help.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { connect, headers, NoRespondersError, RequestError, TimeoutError } from "@nats-io/transport-node";
import type { NatsConnection } from "@nats-io/transport-node";

const SUBJECT = "livedex.query";

interface Position {
  topic: string;
  partition: number;
  offset: number;
}

/** The part of query.v1 that is used here. */
interface Query {
  query: string;
  top_k: number;
  filter?: object;
  after?: Position[];
}

/** The part of reply.v1 that is used here. */
interface Reply {
  hits: { chunk_id: string; score: number; document_id: string }[];
  degraded?: { reason: string };
}

/** error.v1: `code` decides what to do, `message` is for people. */
interface ErrorBody {
  code: string;
  message: string;
  field?: string;
  retry_after_ms?: number;
  missing?: Position[];
}

class LivedexError extends Error {
  constructor(readonly body: ErrorBody) {
    super(`${body.code}: ${body.message}`);
  }
}

/** Sends the request and waits so long for its reply, of which the service is told. */
async function askOnce(connection: NatsConnection, query: Query, ms: number): Promise<Reply> {
  const told = headers();
  told.set("Livedex-Deadline-Ms", String(Math.floor(ms)));
  const answer = await connection.request(SUBJECT, JSON.stringify(query), { timeout: ms, headers: told });
  if (answer.headers?.has("Nats-Service-Error-Code")) {
    throw new LivedexError(answer.json<ErrorBody>());
  }
  return answer.json<Reply>();
}

/** Asks once more if the service says when that may work and there is time for it. */
async function ask(connection: NatsConnection, query: Query, timeoutMs: number): Promise<Reply> {
  const end = performance.now() + timeoutMs;
  try {
    return await askOnce(connection, query, timeoutMs);
  } catch (error) {
    if (!(error instanceof LivedexError) || error.body.retry_after_ms === undefined) throw error;
    // Not all callers come back at the same moment.
    const pause = error.body.retry_after_ms * (1 + Math.random() / 2);
    const left = end - performance.now() - pause;
    if (left <= 0) throw error;
    console.error(`${error.message}; asking again in ${pause.toFixed(0)} ms`);
    await sleep(pause);
    return await askOnce(connection, query, left);
  }
}

/** Where records went, from what `livedex publish --json` prints: the last of each partition. */
function written(path: string): Position[] {
  const last = new Map<string, Position>();
  for (const line of readFileSync(path, "utf8").split("\n").filter((line) => line.trim())) {
    const { topic, partition, offset }: Position = JSON.parse(line);
    const place = `${topic}[${partition}]`;
    if (offset >= (last.get(place)?.offset ?? 0)) last.set(place, { topic, partition, offset });
  }
  return [...last.values()];
}

function fail(message: string): void {
  console.error(message);
  process.exitCode = 1;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    lang: { type: "string" },
    after: { type: "string" },
    "top-k": { type: "string", default: "5" },
    "timeout-ms": { type: "string", default: "5000" },
  },
});
const question = positionals[0];
if (question === undefined) {
  console.error("usage: ask QUESTION [--lang LANG] [--after FILE] [--top-k N] [--timeout-ms MS]");
  process.exit(2);
}

const query: Query = { query: question, top_k: Number(values["top-k"]) };
if (values.lang !== undefined) {
  query.filter = { eq: { field: "metadata.lang", value: values.lang } };
}
if (values.after !== undefined) {
  query.after = written(values.after);
}

let connection: NatsConnection | undefined;
try {
  connection = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
  const reply = await ask(connection, query, Number(values["timeout-ms"]));
  if (reply.degraded) console.error(`not all of it was reranked: ${reply.degraded.reason}`);
  for (const hit of reply.hits) {
    console.log([hit.chunk_id, hit.score.toFixed(3), hit.document_id].join("\t"));
  }
} catch (error) {
  if (error instanceof LivedexError) {
    for (const record of error.body.missing ?? []) console.error("not there yet:", record);
    fail(error.message);
  } else if (error instanceof NoRespondersError || (error instanceof RequestError && error.isNoResponders())) {
    fail(`nobody listens on ${SUBJECT}: start \`livedex serve\``);
  } else if (error instanceof TimeoutError) {
    fail(`no answer within ${values["timeout-ms"]} ms`);
  } else {
    fail(String(error));
  }
} finally {
  await connection?.close();
}
