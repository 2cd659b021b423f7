"""A WebSocket client: prints the status line, the chosen subprotocol, then each message as a line of JSON.

    websocket_client.py PORT CA CERTIFICATE KEY PATH PROTOCOL MESSAGES
"""
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import sys

port, ca, certificate, key, path, protocol, messages = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
raw = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
connection = context.wrap_socket(raw, server_hostname="127.0.0.1")
nonce = base64.b64encode(os.urandom(16)).decode()
lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket",
         "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {nonce}", "Origin: https://127.0.0.1"]
if protocol:
    lines.append(f"Sec-WebSocket-Protocol: {protocol}")
connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
stream = connection.makefile("rb")
print(stream.readline().decode().strip(), flush=True)
headers = {}
while (line := stream.readline().decode().strip()):
    name, value = line.split(":", 1)
    headers[name.lower()] = value.strip()
print(headers.get("sec-websocket-protocol", ""), flush=True)
if "sec-websocket-accept" in headers:
    digest = hashlib.sha1((nonce + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
    for _ in range(int(messages)):
        first, second = stream.read(2)
        length = second & 127
        if length > 125:
            width = 2 if length == 126 else 8
            length = int.from_bytes(stream.read(width), "big")
        payload = stream.read(length).decode()
        print(json.dumps([first & 15, payload]), flush=True)
        # A ping must be answered between messages.
        mask = b"\0\0\0\0"
        connection.sendall(struct.pack(">BB", 0x89, 0x81) + mask + b"?")
else:
    print(stream.read(int(headers.get("content-length", 0))).decode())
