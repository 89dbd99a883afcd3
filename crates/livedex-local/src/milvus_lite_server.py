"""Milvus Lite's server for the local stack: arguments are data folder, port, port file, and `serial`
or `parallel`.

`milvus-lite server` has no port 0 and ends on SIGTERM without closing its data; this does both
with the package's own functions. Port 0 takes a free one; the port goes into the port file.

`serial` works on one request at a time, and on none whose caller has given up: the engine takes one
writer per collection, and a read can miss rows that are being flushed. A lock and not one thread:
gRPC gives a request its thread before it is there in full, and a client that stands still in the
middle of one would stop everybody.
"""

import functools
import os
import signal
import sys
import threading

import grpc
from milvus_lite.adapter.grpc.server import start_server_in_thread
from milvus_lite.adapter.grpc.servicer import MilvusServicer

data, port, port_file, mode = sys.argv[1:]
# Blocked before any thread starts, so that no thread is interrupted and sigwait gets them.
signals = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
if mode == "serial":
    lock = threading.RLock()

    def alone(handler):
        @functools.wraps(handler)
        def locked(self, request, context):
            with lock:
                if not context.is_active():
                    context.abort(grpc.StatusCode.CANCELLED, "the caller has given up")
                return handler(self, request, context)

        return locked

    # RPCs are named in capitals, everything else is not.
    for name, handler in list(vars(MilvusServicer).items()):
        if name[0].isupper():
            setattr(MilvusServicer, name, alone(handler))
server, db, bound = start_server_in_thread(data, "127.0.0.1", int(port), max_workers=10)
if bound == 0:
    sys.exit(f"cannot listen on 127.0.0.1:{port}")
with open(port_file + ".new", "w") as file:
    file.write(str(bound))
os.replace(port_file + ".new", port_file)
signal.sigwait(signals)
server.stop(grace=2).wait()
db.close()
