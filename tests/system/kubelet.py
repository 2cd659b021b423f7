"""A kubelet as far as an API server sees one: logs, exec, attach, port forward over SPDY/3.1, and plain HTTP.

    kubelet.py ADDRESS CERTIFICATE KEY CLIENT_CA REQUESTS

Commands of `exec` run on this machine. Every request is written to the file REQUESTS as a line of JSON, also when a log
that is followed ends. The port is printed when it listens; the plain HTTP twin (a pod's server) prints its own.
"""
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import zlib

NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
# The dictionary that SPDY/3 headers are compressed with (draft-mbelshe-httpbis-spdy-00, section 2.6.10.1).
DICTIONARY = b"".join(
    struct.pack(">I", len(n)) + n.encode() for n in (n.replace("_", " ") for n in NAMES.split())
) + (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    b"Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    b"Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    b"00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    b"application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset="
    b"iso-8859-1,utf-,*,enq=0."
)
assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
FIN = 1
PAGE = b'<html><a href="/next">next</a><a href="http://elsewhere.test/">out</a></html>'


class Spdy:
    """The server's side of one SPDY connection."""

    def __init__(self, connection, rest):
        self.connection, self.rest = connection, rest
        self.inflate = zlib.decompressobj(zdict=DICTIONARY)
        self.deflate = zlib.compressobj(zdict=DICTIONARY)
        self.lock = threading.Lock()

    def read(self, size):
        while len(self.rest) < size:
            more = self.connection.recv(65536)
            if not more:
                raise EOFError
            self.rest += more
        out, self.rest = self.rest[:size], self.rest[size:]
        return out

    def send(self, head, body):
        with self.lock:
            self.connection.sendall(head + body)

    def control(self, kind, body, flags=0):
        self.send(struct.pack(">HHI", 0x8003, kind, flags << 24 | len(body)), body)

    def data(self, stream, body, flags=0):
        for at in range(0, max(len(body), 1), 16384):
            piece = body[at : at + 16384]
            last = flags if at + 16384 >= len(body) else 0
            self.send(struct.pack(">II", stream, last << 24 | len(piece)), piece)

    def events(self):
        """(stream, headers or None, data, finished)"""
        while True:
            first, second = struct.unpack(">II", self.read(8))
            flags, body = second >> 24, self.read(second & 0xFFFFFF)
            if not first >> 31:
                yield first, None, body, bool(flags & FIN)
                continue
            kind = first & 0xFFFF
            if kind == 1:
                (stream,) = struct.unpack(">I", body[:4])
                headers = self.headers(self.inflate.decompress(body[10:]))
                block = self.deflate.compress(struct.pack(">I", 0)) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
                self.control(2, struct.pack(">I", stream) + block)
                yield stream, headers, b"", bool(flags & FIN)
            elif kind == 6:
                self.control(6, body)
            elif kind == 7:
                return

    @staticmethod
    def headers(block):
        (count,), at, out = struct.unpack(">I", block[:4]), 4, {}
        for _ in range(count):
            pair = []
            for _ in range(2):
                (size,) = struct.unpack(">I", block[at : at + 4])
                pair.append(block[at + 4 : at + 4 + size].decode())
                at += 4 + size
            out[pair[0].lower()] = pair[1]
        return out


def run_streams(spdy, query, command):
    """exec and attach: one process, or an echo."""
    wanted = {"error"} | {ours for ours, key in (("stdin", "input"), ("stdout", "output"), ("stderr", "error")) if key in query}
    if "tty" in query:
        wanted = wanted - {"stderr"} | {"resize"}
    streams, process, early, stdin_done = {}, None, [], False

    def copy(pipe, stream):
        for piece in iter(lambda: os.read(pipe.fileno(), 65536), b""):
            spdy.data(stream, piece)

    def finish():
        threads = [
            threading.Thread(target=copy, args=(pipe, streams[name]))
            for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr))
            if name in streams and pipe
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        code = process.wait()
        status = {"metadata": {}, "status": "Success"}
        if code:
            status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
                      "message": f"command terminated with non-zero exit code: exit status {code}",
                      "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}
        spdy.data(streams["error"], json.dumps(status).encode(), FIN)
        for name, stream in streams.items():
            if name != "error":
                spdy.data(stream, b"", FIN)
        time.sleep(0.2)
        spdy.connection.close()

    for stream, headers, body, done in spdy.events():
        if headers is not None:
            streams[headers["streamtype"]] = stream
            if process is None and wanted <= set(streams):
                merged = subprocess.STDOUT if "stderr" not in streams else subprocess.PIPE
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=merged)
                if "stdin" not in streams:
                    process.stdin.close()
                threading.Thread(target=finish, daemon=True).start()
        elif process and stream == streams.get("stdin"):
            try:
                process.stdin.write(body)
                process.stdin.flush()
                if done:
                    process.stdin.close()
            except (BrokenPipeError, ValueError):
                pass


def forward_ports(spdy):
    """Answers every piece of data with the port that it came to."""
    ports = {}
    for stream, headers, body, done in spdy.events():
        if headers is not None and headers["streamtype"] == "data":
            ports[stream] = headers["port"]
        elif stream in ports and body:
            spdy.data(stream, f"{ports[stream]}:".encode() + body)
        if done and stream in ports:
            spdy.data(stream, b"", FIN)


class Kubelet:
    def __init__(self, requests, name):
        self.requests, self.name = requests, name

    def note(self, **what):
        with open(self.requests, "a") as file:
            file.write(json.dumps({"server": self.name, **what}) + "\n")

    def serve(self, connection):
        try:
            self.one(connection)
        except (EOFError, OSError):
            pass
        finally:
            connection.close()

    def one(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return
            data += more
        head, rest = data.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {}
        for line in lines[1:]:
            key, value = line.split(":", 1)
            headers[key.lower()] = ", ".join(filter(None, [headers.get(key.lower()), value.strip()]))
        while len(rest) < int(headers.get("content-length", 0)):
            rest += connection.recv(65536)
        certificate = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
        subject = dict(x[0] for x in certificate["subject"]) if certificate else {}
        self.note(method=method, target=target, headers=headers, client=subject.get("commonName"),
                  body=rest.decode(errors="replace") if "upgrade" not in headers else "")
        url = urllib.parse.urlsplit(target)
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        parts = url.path.split("/")
        if parts[1] in ("exec", "attach", "portForward"):
            return self.stream(connection, rest, headers, parts, query)
        if parts[1] == "containerLogs":
            return self.log(connection, parts, query)
        self.plain(connection, method, url, headers, rest)

    def stream(self, connection, rest, headers, parts, query):
        if headers.get("upgrade", "").lower() != "spdy/3.1":
            return self.answer(connection, "400 Bad Request", b"unable to upgrade: only SPDY here", {})
        if parts[3] == "refused":
            return self.answer(connection, "403 Forbidden", b"not this pod", {"Content-Type": "text/plain"})
        offered = [v.strip() for v in headers.get("x-stream-protocol-version", "").split(",")]
        reply = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        connection.sendall(f"{reply}X-Stream-Protocol-Version: {offered[0]}\r\n\r\n".encode())
        spdy = Spdy(connection, rest)
        if parts[1] == "portForward":
            return forward_ports(spdy)
        attached = ["sh", "-c", f"echo attached to {parts[4]}; exec cat"]
        run_streams(spdy, query, query["command"] if parts[1] == "exec" else attached)

    def log(self, connection, parts, query):
        container = parts[4]
        if container == "waiting":
            return self.answer(connection, "400 Bad Request", b'container "waiting" is waiting to start', {})
        if container == "lost":
            return self.answer(connection, "404 Not Found", b"lost", {})
        if container == "moved":
            return self.answer(connection, "302 Found", b"", {"Location": "https://elsewhere.test/"})
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        lines = 3 if "follow" not in query else 1_000_000
        first = max(0, 3 - int(query.get("tailLines", ["3"])[0])) if lines == 3 else 0
        try:
            for n in range(first, lines):
                line = f"line {n + 1} of {container}\n".encode()
                connection.sendall(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                if lines > 3:
                    time.sleep(0.02)
        except OSError:
            self.note(ended="log of " + container)
            return
        connection.sendall(b"0\r\n\r\n")

    def plain(self, connection, method, url, headers, body):
        if url.path == "/html":
            return self.answer(connection, "200 OK", PAGE, {"Content-Type": "text/html; charset=utf-8"})
        if url.path == "/away":
            return self.answer(connection, "302 Found", b"", {"Location": "/html?x=1"})
        if url.path == "/cors":
            return self.answer(connection, "200 OK", b"", {"Access-Control-Allow-Origin": "*", "X-Own": "1"})
        text = json.dumps({"server": self.name, "method": method, "path": url.path, "query": url.query,
                           "body": body.decode(), "headers": headers})
        self.answer(connection, "200 OK", text.encode(), {"Content-Type": "application/json"})

    def answer(self, connection, status, body, headers):
        headers = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {status}"] + [f"{k}: {v}" for k, v in headers.items()]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def listen(address, kubelet, context):
    listener = socket.create_server((address, 0))
    print(listener.getsockname()[1], flush=True)

    def handle(raw):
        try:
            kubelet.serve(context.wrap_socket(raw, server_side=True) if context else raw)
        except (OSError, ssl.SSLError) as error:
            kubelet.note(refused=str(error))
            raw.close()

    while True:
        raw, _ = listener.accept()
        threading.Thread(target=handle, args=(raw,), daemon=True).start()


def main():
    address, certificate, key, client_ca, requests = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    pod = Kubelet(requests, "pod")
    threading.Thread(target=listen, args=(address, pod, None), daemon=True).start()
    time.sleep(0.1)
    listen(address, Kubelet(requests, "kubelet"), context)


main()
