"""Hubs that serve a model's folder on this machine: Hugging Face's and ModelScope."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "Tiny/Tiny-Chat"


class Hub:
    """What a hub serves as `REPOSITORY`, and what was asked for.

    Attributes:
        files: the files by their names.
        listed: what the listing says of some of them instead of the truth; ModelScope's keys.
        listing: a body in place of ModelScope's listing.
        sent: the names of the files that were sent.
        address: where it listens.

    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.listed: dict[str, dict[str, Any]] = {}
        self.listing: bytes | None = None
        self.sent: list[str] = []
        self.address = ""

    def answer(self, path: str) -> tuple[int, bytes, str | None]:
        """Return a status, a body, and the name of the file that the body is."""
        parts, query = urlsplit(path), parse_qs(urlsplit(path).query)
        if parts.path == f"/api/v1/models/{REPOSITORY}/repo/files":
            return 200, self.listing or self._listing(), None
        if parts.path == f"/api/v1/models/{REPOSITORY}/repo":
            return self._file(query["FilePath"][0])
        if parts.path == f"/api/models/{REPOSITORY}/revision/main":
            siblings = [{"rfilename": name} for name in self.files]
            told = {"id": REPOSITORY, "sha": "0" * 40, "siblings": siblings}
            return 200, json.dumps(told).encode(), None
        if parts.path.startswith(f"/api/models/{REPOSITORY}/tree/"):
            rows = [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in self.files.items()
            ]
            return 200, json.dumps(rows).encode(), None
        if parts.path.startswith(f"/{REPOSITORY}/resolve/"):
            return self._file(parts.path.rpartition("/")[2])
        return 404, b'{"Code": 10010205001, "Message": "no such thing"}', None

    def _listing(self) -> bytes:
        rows = [
            {
                "Path": name,
                "Name": name.rpartition("/")[2],
                "Type": "blob",
                "Size": len(content),
                "Sha256": hashlib.sha256(content).hexdigest(),
            }
            | self.listed.get(name, {})
            for name, content in self.files.items()
        ]
        return json.dumps({"Code": 200, "Success": True, "Data": {"Files": rows}}).encode()

    def _file(self, name: str) -> tuple[int, bytes, str | None]:
        return (200, self.files[name], name) if name in self.files else (404, b"{}", None)


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """Serve files as both hubs do."""
    hub = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.reply(send=False)

        def do_GET(self) -> None:
            self.reply(send=True)

        def reply(self, *, send: bool) -> None:
            status, body, name = hub.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()
            if send:
                self.wfile.write(body)
                if name is not None:
                    hub.sent.append(name)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
