"""A TCP relay between nodes that can misbehave below TLS: cut links, delay what passes, or keep a
link open and pass nothing (half-open)."""

import select
import socket
import threading


class Link:
    """One connection, in both directions."""

    def __init__(self, proxy, near, far):
        self.proxy = proxy
        self.ends = (near, far)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        near, far = self.ends
        while True:
            try:
                ready, _, _ = select.select([near, far], [], [], 0.2)
            except (OSError, ValueError):
                return
            if self.proxy.is_silent.is_set():
                # Bytes stay where they are; the peer's window fills up.
                self.proxy.changed.wait(0.2)
                continue
            for source in ready:
                if not self.pass_on(source, far if source is near else near):
                    self.close()
                    return

    def pass_on(self, source, target):
        try:
            data = source.recv(65536)
            if not data:
                return False
            if self.proxy.delay_s:
                self.proxy.closed.wait(self.proxy.delay_s)
            target.sendall(data)
        except OSError:
            return False
        return True

    def close(self):
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


class TcpProxy:
    """Listens on a port of its own and relays to `target_port` on loopback."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.delay_s = 0.0
        self.is_silent = threading.Event()
        self.changed = threading.Event()
        self.closed = threading.Event()
        self.links = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while not self.closed.is_set():
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                continue
            self.links.append(Link(self, near, far))

    def cut(self):
        """Ends every connection; new ones are taken."""
        for link in self.links:
            link.close()
        self.links.clear()

    def close(self):
        self.closed.set()
        self.changed.set()
        self.listener.close()
        self.cut()
