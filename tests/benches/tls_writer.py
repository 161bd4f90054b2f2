"""Writes to OpenSSL: reads lines `BYTES LAPS WRITES` from standard input.

Prints the CPU time of all the writes, in nanoseconds. Both ends of the
connection are in this process and connected in memory, so that a write encrypts
but makes no system call.
"""

import os
import ssl
import subprocess
import sys
import time


def certificate():
    """Creates a memory file with a key and a self-signed certificate."""
    how = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout - -out - -subj /CN=x"
    made = subprocess.run(how.split(), check=True, capture_output=True).stdout
    file = os.memfd_create("certificate")
    os.write(file, made)
    return f"/proc/self/fd/{file}"


def client_context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def server_context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate())
    return made


def handshake_done(end):
    try:
        end.do_handshake()
        return True
    except ssl.SSLWantReadError:
        return False


there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
client = client_context().wrap_bio(back, there)
server = server_context().wrap_bio(there, back, server_side=True)
while not all([handshake_done(client), handshake_done(server)]):
    pass
there.read()

print("ready", flush=True)
for line in sys.stdin:
    size, laps, writes = map(int, line.split())
    data = b"x" * size
    spent = 0
    for _ in range(laps):
        start = time.thread_time_ns()
        for _ in range(writes):
            client.write(data)
        spent += time.thread_time_ns() - start
        there.read()
    print(spent, flush=True)
