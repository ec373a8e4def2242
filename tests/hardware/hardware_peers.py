"""The far ends of links in these tests: scripted devices behind real sockets and pseudo-terminals."""

import contextlib
import os
import pty
import re
import select
import socket
import struct
import threading
import tty

from pyros.hardware.errors import LeaseRevoked

HANG_UP = object()
SILENCE = None


class Revocable:
    """A lease that can be revoked."""

    def __init__(self):
        self.revoked = False

    def check(self):
        if self.revoked:
            raise LeaseRevoked("telescope", "", "this incarnation has been replaced")


class Peer:
    """Answers requests with what `answer(request)` returns: bytes, SILENCE or HANG_UP. Keeps what it was asked."""

    def __init__(self, answer, frame=rb"\x06|:[^#]*#"):
        self.answer = answer
        self.frame = re.compile(frame, re.DOTALL)
        self.requests = []
        self.connections = 0
        self.seen = threading.Condition()

    def wait_for(self, request, seconds=5):
        with self.seen:
            assert self.seen.wait_for(lambda: request in self.requests, seconds), (request, self.requests)

    def feed(self, buffer, write):
        """Answer all whole requests in `buffer`; return the rest, or None to hang up."""
        while match := self.frame.search(buffer):
            buffer = buffer[match.end() :]
            with self.seen:
                self.requests.append(match.group())
                self.seen.notify_all()
            reply = self.answer(match.group())
            if reply is HANG_UP:
                return None
            if reply:
                write(reply)
        return buffer


class TcpPeer(Peer):
    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lines = []
        self.url = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                line, _ = self.listener.accept()
                self.connections += 1
                self.lines.append(line)
                threading.Thread(target=self.serve, args=(line,), daemon=True).start()

    def serve(self, line):
        rest = b""
        with line, contextlib.suppress(OSError):
            while chunk := line.recv(4096):
                rest = self.feed(rest + chunk, line.sendall)
                if rest is None:
                    return

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for line in self.lines:
            line.close()


class PtyPeer(Peer):
    def __enter__(self):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        self.stop = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def serve(self):
        rest = b""
        while self.stop[0] not in select.select([self.master, self.stop[0]], [], [])[0]:
            rest = self.feed(rest + os.read(self.master, 4096), lambda reply: os.write(self.master, reply)) or b""

    def __exit__(self, *_):
        os.write(self.stop[1], b"x")
        self.thread.join(5)
        for end in (self.master, self.slave, *self.stop):
            os.close(end)


class FakeMount:
    """Just enough of an LX200 mount; `rich` speaks 10micron. `quirks` maps a request to what it answers instead."""

    def __init__(self, rich=True):
        self.rich = rich
        self.low = True
        self.ra, self.dec = "00:00:00", "+00*00:00"
        self.status = 7
        self.quirks = {}

    def __call__(self, request):
        for start, reply in self.quirks.items():
            if request.startswith(start):
                return reply(request) if callable(reply) else reply
        text = request.decode("latin-1")
        if text.startswith((":Sr", ":Sd")):
            setattr(self, "ra" if text[2] == "r" else "dec", text[3:-1])
            return b"1"
        if text == ":U#":
            self.low = not self.low
        self.status = {":MS#": 0, ":KA#": 5, ":AL#": 7, ":AP#": 0, ":PO#": 7}.get(text, self.status)
        replies = {
            ":GVP#": "10micron GM2000HPS#" if self.rich else "LX200 Classic#",
            ":GR#": (self.ra[:5] + ".0#") if self.low else self.ra + "#",
            ":GD#": self.dec.replace("*", "\xdf") + "#",
            ":GA#": "+45\xdf00:00#",
            ":GZ#": "180\xdf00:00#",
            ":D#": "#",
            ":MS#": "0",
            "\x06": "P",
            ":Ginfo#": f"{hours(self.ra):.5f},{hours(self.dec):+.5f},E,180.0,45.0,2461000.5,{self.status},0#",
        }
        return replies.get(text, "").encode("latin-1")


def hours(text):
    sign = -1 if text[0] == "-" else 1
    whole, minutes, seconds = map(float, re.split("[:*]", text.lstrip("+-")))
    return sign * (whole + minutes / 60 + seconds / 3600)


class FakePlc:
    """Just enough of a Modbus/TCP server; see `TcpPeer` for what an answer may be."""

    def __init__(self):
        self.registers = [7, 0b1000_1000_0001, 0, 0, 50, 80, 600, 0xFFCE, 7200, 0xFF38, 0xFF9C, 63, 1, 100, 0]
        self.written = []
        self.fault = None

    def __call__(self, request):
        if self.fault is not None:
            return self.fault(request)
        transaction, _, _, unit, function = struct.unpack(">HHHBB", request[:8])
        if unit != 1:
            body = bytes([function | 0x80, 4])
        elif function == 4:
            first, count = struct.unpack(">HH", request[8:12])
            body = struct.pack(f">BB{count}H", function, 2 * count, *self.registers[first : first + count])
        else:
            self.written.append((function, *struct.unpack(">HH", request[8:12])))
            body = request[7:12]
        return struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body


MODBUS_FRAME = rb"..\x00\x00\x00\x06......"
