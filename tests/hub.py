"""A small Hub on this machine: what huggingface_hub asks of the real one, answered over HTTP.

Repositories have commits; large files are LFS files and lie on another server, to which
requests are redirected, as on the real Hub. Faults are asked for by the test.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_FROM = 1000  # bytes: what is smaller lies in git itself
NAME = r"(?P<repo>[^/]+/[^/]+)"
SLOW_PIECE = 1000  # bytes


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class Repo:
    """Files by commit. gated: needs the right token. private: isn't there without it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: dict[str, bytes]) -> str:
        """Files come on top of those of main; returns the commit's hash."""
        whole = {**self.commits.get(self.refs.get("main", ""), {}), **files}
        told = json.dumps([len(self.commits), {n: sha256(b) for n, b in whole.items()}])
        self.refs["main"] = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        self.commits[self.refs["main"]] = whole
        return self.refs["main"]

    def resolve(self, revision: str) -> str | None:
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None


@dataclass
class Fault:
    """What goes wrong with requests whose method and path match, the next ``times`` times.

    Without a ``status`` it spares the look at a file's first bytes.
    """

    pattern: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # bytes of the body, then the connection is closed
    pause: float = 0.0  # seconds before the body, or between the pieces of a slow one
    slow: bool = False
    body: bytes | None = None  # instead of the right one


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    line: str  # method and path
    authorization: str | None
    range: str | None

    @property
    def is_look(self) -> bool:
        return (self.range or "").startswith("bytes=0-")


class Hub:
    """The Hub and its file server, on two ports; ``url`` is what HF_ENDPOINT takes."""

    def __init__(self, token: str = "hf_" + "t" * 30) -> None:
        self.token = token
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.asked_files: list[Asked] = []
        self.faults: list[Fault] = []
        self.site = serve(self, HubHandler)
        self.store = serve(self, FileHandler)
        self.url, self.files_url = address(self.site), address(self.store)

    def repo(
        self, name: str, files: dict[str, bytes], *, gated: bool = False, private: bool = False
    ) -> Repo:
        """A new repository with one commit on main."""
        repo = self.repos[name] = Repo(gated=gated, private=private)
        repo.commit(files)
        return repo

    @property
    def downloads(self) -> list[Asked]:
        """What was asked of the file server, but for looks at a file's first bytes."""
        return [asked for asked in self.asked_files if not asked.is_look]

    def fault(self, asked: Asked) -> Fault | None:
        for fault in self.faults:
            spared = asked.is_look and not fault.status
            if fault.times > 0 and not spared and re.search(fault.pattern, asked.line):
                fault.times -= 1
                return fault
        return None

    def lines(self) -> list[str]:
        """What was asked of both servers, but for the library's question about its callers."""
        both = [*self.asked, *self.asked_files]
        return [asked.line for asked in both if "agent-harnesses" not in asked.line]

    def forget(self) -> None:
        """Start the log anew."""
        self.asked.clear()
        self.asked_files.clear()

    def close(self) -> None:
        for server in (self.site, self.store):
            server.shutdown()
            server.server_close()


class Server(ThreadingHTTPServer):
    """One port of a hub."""

    daemon_threads = True
    hub: Hub

    def handle_error(self, *_: Any) -> None:
        """A client that went away is nothing to print."""


def serve(hub: Hub, handler: type[BaseHTTPRequestHandler]) -> Server:
    server = Server(("127.0.0.1", 0), handler)
    server.hub = hub
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """What both servers do: log, go wrong when told to, send bytes or parts of them."""

    protocol_version = "HTTP/1.1"
    server: Server

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def handle_one(self, log: list[Asked]) -> None:
        self.line = f"{self.command} {unquote(urlsplit(self.path).path)}"
        asked = Asked(self.line, self.headers["Authorization"], self.headers["Range"])
        log.append(asked)
        length = int(self.headers["Content-Length"] or 0)
        self.body = self.rfile.read(length)
        if self.headers["Transfer-Encoding"] == "chunked":
            self.body = read_chunks(self.rfile)
        self.wrong = self.hub.fault(asked)
        if self.wrong and self.wrong.status:
            self.answer(self.wrong.status, b"trouble", self.wrong.headers)
        else:
            self.act()

    def act(self) -> None:
        raise NotImplementedError

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(body)

    def send_body(self, body: bytes) -> None:
        fault = self.wrong or Fault("")
        time.sleep(fault.pause)
        if fault.cut_after is not None:
            self.wfile.write(body[: fault.cut_after])
            self.wfile.flush()
            self.close_connection = True
            return
        size = SLOW_PIECE if fault.slow else len(body)
        for start in range(0, len(body), max(size, 1)):
            self.wfile.write(body[start : start + size])
            self.wfile.flush()
            time.sleep(fault.pause if fault.slow else 0)

    def answer_file(self, body: bytes, headers: dict[str, str]) -> None:
        """All of it, or the range that was asked for."""
        if self.wrong and self.wrong.body is not None:
            body = self.wrong.body
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        headers = {"Accept-Ranges": "bytes", **headers}
        if not wanted:
            self.answer(200, body, headers)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
        if start >= len(body):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            return
        span = {"Content-Range": f"bytes {start}-{end}/{len(body)}"}
        self.answer(206, body[start : end + 1], {**headers, **span})

    def answer_json(self, status: int, value: Any, **headers: str) -> None:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        body = json.dumps(value).encode()
        self.answer(status, body, {"Content-Type": "application/json", **named})


class FileHandler(Handler):
    """Where large files lie: asked by their hash, without the token."""

    def act(self) -> None:
        key = self.path.strip("/").partition("?")[0].rpartition("/")[2]
        if self.command == "PUT":
            self.hub.blobs[key] = self.body
            self.answer(200, b"")
        elif key in self.hub.blobs:
            self.answer_file(self.hub.blobs[key], {"ETag": f'"{key}"'})
        else:
            self.answer(404, b"")

    def do_GET(self) -> None:
        self.handle_one(self.hub.asked_files)

    do_HEAD = do_PUT = do_GET  # noqa: N815 http.server looks for these names


class HubHandler(Handler):
    """The Hub's own part."""

    def do_GET(self) -> None:
        self.handle_one(self.hub.asked)

    do_HEAD = do_POST = do_GET  # noqa: N815 as above

    ROUTES = (
        (rf"GET /api/models/{NAME}(/revision/(?P<revision>.+))?", "send_info"),
        (rf"GET /api/models/{NAME}/tree/(?P<revision>.+)", "send_tree"),
        (rf"(GET|HEAD) /{NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", "send_file"),
        (r"GET /api/models", "send_models"),
        (r"POST /api/repos/create", "create"),
        (r"POST /api/validate-yaml", "validate"),
        (rf"POST /api/models/{NAME}/preupload/.+", "preupload"),
        (rf"POST /{NAME}\.git/info/lfs/objects/batch", "batch"),
        (rf"POST /api/models/{NAME}/commit/(?P<revision>.+)", "accept_commit"),
    )

    def act(self) -> None:
        for pattern, method in self.ROUTES:
            if found := re.fullmatch(pattern, self.line):
                parts = {k: v for k, v in found.groupdict().items() if v}
                if self.allowed(parts):
                    getattr(self, method)(**parts)
                return
        self.answer(404, b"")

    def refuse(self, status: int, code: str, text: str) -> bool:
        self.answer_json(
            status, {"error": text}, X_Error_Code=code, X_Error_Message=text.replace("\n", " ")
        )
        return False

    def allowed(self, parts: dict[str, str]) -> bool:
        """Refuse strangers, and what isn't there, with the Hub's codes."""
        known = self.headers["Authorization"] == f"Bearer {self.hub.token}"
        if self.headers["Authorization"] and not known:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        if self.command == "POST" and not known:
            return self.refuse(401, "", "Invalid username or password.")
        return "repo" not in parts or self.allowed_in(parts, known=known)

    def allowed_in(self, parts: dict[str, str], *, known: bool) -> bool:
        """The same for one repository."""
        repo = self.hub.repos.get(parts["repo"])
        if repo is None or (repo.private and not known):
            return self.refuse(404 if known else 401, "RepoNotFound", "Repository not found")
        if repo.gated and not known and "file" in parts:
            return self.refuse(401, "GatedRepo", "Access to this model is restricted.")
        if "revision" in parts and repo.resolve(unquote(parts["revision"])) is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        return True

    def send_models(self) -> None:
        self.answer_json(200, [{"id": name} for name in self.hub.repos][:1])

    def send_info(self, repo: str, revision: str = "main") -> None:
        known = self.hub.repos[repo]
        commit = known.resolve(unquote(revision)) or ""
        names = [{"rfilename": name} for name in known.commits[commit]]
        self.answer_json(200, {"id": repo, "modelId": repo, "sha": commit, "siblings": names})

    def send_tree(self, repo: str, revision: str) -> None:
        known = self.hub.repos[repo]
        files = known.commits[known.resolve(unquote(revision)) or ""]
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": git_sha1(data)}
            for name, data in files.items()
        ]
        self.answer_json(200, entries)

    def send_file(self, repo: str, revision: str, file: str) -> None:
        known = self.hub.repos[repo]
        commit = known.resolve(revision) or ""
        data = known.commits[commit].get(file)
        if data is None:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        elif len(data) < LFS_FROM:
            self.answer_file(data, {"ETag": f'"{git_sha1(data)}"', "X-Repo-Commit": commit})
        else:
            digest = sha256(data)
            self.hub.blobs.setdefault(digest, data)
            about = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
            place = {"Location": f"{self.hub.files_url}/{digest}?Signature=s3cret"}
            self.answer(302, b"", {"X-Repo-Commit": commit, **about, **place})

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repos:
            self.answer_json(409, {"url": f"{self.hub.url}/{name}"})
            return
        self.hub.repo(name, {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.hub.repos[name].private = asked.get("visibility") == "private"
        self.answer_json(200, {"url": f"{self.hub.url}/{name}"})

    def validate(self) -> None:
        header = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], re.DOTALL)
        self.answer_json(200 if header else 400, {"errors": [], "warnings": []})

    def preupload(self, **_: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] >= LFS_FROM else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self.answer_json(200, {"files": files})

    def batch(self, **_: str) -> None:
        objects = [
            {**o, "actions": {"upload": {"href": f"{self.hub.files_url}/{o['oid']}"}}}
            for o in json.loads(self.body)["objects"]
        ]
        self.answer_json(200, {"transfer": "basic", "objects": objects})

    def accept_commit(self, repo: str, **_: str) -> None:
        files = {}
        for line in self.body.splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif part["key"] == "lfsFile":
                data = self.hub.blobs[value["oid"]]
                if sha256(data) != value["oid"] or len(data) != value["size"]:
                    self.answer_json(400, {"error": "the file isn't what was announced"})
                    return
                files[value["path"]] = data
        commit = self.hub.repos[repo].commit(files)
        url = f"{self.hub.url}/{repo}/commit/{commit}"
        self.answer_json(200, {"commitUrl": url, "commitOid": commit})


def read_chunks(stream: Any) -> bytes:
    """A body that came in chunks."""
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A hub for as long as it is needed."""
    hub = Hub()
    try:
        yield hub
    finally:
        hub.close()
