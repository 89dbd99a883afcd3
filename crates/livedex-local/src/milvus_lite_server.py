"""Milvus Lite's server for the local stack: arguments are data folder, port and port file.

`milvus-lite server` has no port 0 and ends on SIGTERM without closing its data; this does both
with the package's own functions. Port 0 takes a free one; the port goes into the port file.
"""

import os
import signal
import sys

from milvus_lite.adapter.grpc.server import start_server_in_thread

data, port, port_file = sys.argv[1:]
# Blocked before any thread starts, so that no thread is interrupted and sigwait gets them.
signals = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
server, db, bound = start_server_in_thread(data, "127.0.0.1", int(port), max_workers=10)
if bound == 0:
    sys.exit(f"cannot listen on 127.0.0.1:{port}")
with open(port_file + ".new", "w") as file:
    file.write(str(bound))
os.replace(port_file + ".new", port_file)
signal.sigwait(signals)
server.stop(grace=2).wait()
db.close()
