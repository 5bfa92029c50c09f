"""Real servers on free ports, which a test starts, stops, freezes and kills, and a client for HTTP.

Each server is a context manager, keeps its files in a folder of its own under /tmp (the path of a
Unix socket must be short, and PostgreSQL's user may not enter pytest's folders), and runs as the
user of the tests, or as `postgres` where PostgreSQL refuses root. Every wait has a bound, and every
error shows the end of the server's log.
"""

from __future__ import annotations

import contextlib
import email
import gzip
import http.client
import itertools
import json
import os
import pwd
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

import brotli
import psutil
import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from email.message import Message

    from aiosmtpd.smtp import Envelope

CI = os.environ.get("CI") == "true"

# Where Debian keeps servers that are not on everybody's PATH.
TOOL_FOLDERS = ("/usr/sbin", "/usr/lib/rabbitmq/bin", "/usr/lib/postgresql/*/bin")


def missing(reason: str) -> NoReturn:
    """Skip the test because of what this machine lacks; with CI=true, where nothing is, fail it."""
    if CI:
        pytest.fail(reason)
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """Return the path of a program that a test needs; see `missing` for when there is none."""
    if found := shutil.which(name):
        return found
    for pattern in TOOL_FOLDERS:
        for folder in sorted(Path("/").glob(pattern[1:]), reverse=True):
            if found := shutil.which(name, path=str(folder)):
                return found
    missing(f"{name} is not installed")


def free_port() -> int:
    """Return a TCP port that nothing on this machine listens on.

    Taken below the range from which systems serve outgoing connections, so that none of these
    takes it before the server under test does.
    """
    for _ in range(100):
        port = random.randrange(20000, 32000)  # noqa: S311  no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerError("No free port was found between 20000 and 32000.")


class ServerError(Exception):
    """A server did not do what it was asked in time; the message ends with its log."""


@dataclass(frozen=True)
class Response:
    """What a server answered: status, headers (names in any case), and the body as it came."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body, decoded as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:  # noqa: ANN401  JSON may be anything
        """Return the body, parsed as JSON."""
        return json.loads(self.body)


def http_request(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = 10,
) -> Response:
    """Send one request and return the answer, whatever its status; redirects are not followed.

    A `Host` among the headers replaces the one of the URL. Raises OSError or
    http.client.HTTPException when there is no answer within `seconds` of silence.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise ValueError(f"{url} is no http:// URL")
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    try:
        connection.request(method, target or "/", body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def answers_http(url: str) -> bool:
    """Tell whether a server answers at this URL at all."""
    try:
        http_request(url, seconds=2)
    except (OSError, http.client.HTTPException):
        return False
    return True


class Process:
    """A running program whose output goes to the end of a file.

    It leads a session of its own: a Ctrl-C at the tests' terminal ends it through the fixtures. As
    a context manager it is ended with all its descendants, however a test left it.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        env: Mapping[str, str],
        user: str | None = None,
    ) -> None:
        self.command = [str(word) for word in command]
        self.log_path = log
        group = pwd.getpwnam(user).pw_gid if user else None
        with log.open("ab") as file:
            self._start = file.tell()
            self._popen = subprocess.Popen(
                self.command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=[] if user else None,
            )

    @property
    def pid(self) -> int:
        """The process id of the program itself."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._popen.poll() is None

    @property
    def log(self) -> str:
        """What this program has written so far."""
        with self.log_path.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")

    def children(self) -> list[psutil.Process]:
        """Return the processes that it has started, and theirs: workers of gunicorn, of a pool."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def wait_until(self, ready: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
        """Return when `ready` is true; raise ServerError when the program ends or time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise self._error(f"ended with exit code {self._popen.returncode} before {what}")
            if time.monotonic() > deadline:
                raise self._error(f"waited {seconds} s for {what}")
            time.sleep(0.05)

    def wait_for_log(self, text: str, *, seconds: float = 30) -> None:
        """Return when the program has written this text."""
        self.wait_until(lambda: text in self.log, f"{text!r} in its log", seconds=seconds)

    def wait(self, *, seconds: float = 30) -> int:
        """Wait for the end and return the exit code (negative: the signal that ended it)."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self._error(f"did not end within {seconds} s") from None

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, *, seconds: float = 30) -> int:
        """Ask the program to end, wait, and return its exit code."""
        self.resume()
        self._popen.send_signal(with_signal)
        return self.wait(seconds=seconds)

    def suspend(self) -> None:
        """Freeze it with all its descendants: connections stay, nothing answers any more."""
        self._popen.send_signal(signal.SIGSTOP)  # first, as it starts no more children then
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `suspend`."""
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """End it and all its descendants at once with SIGKILL, as a power cut does."""
        self._signal_all(signal.SIGKILL)
        self._popen.wait(10)

    def _signal_all(self, number: signal.Signals) -> None:
        children = self.children()
        self._popen.send_signal(number)
        # Orphans are found by their group, and those that lead a group of their own by descent.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)

    def _error(self, what: str) -> ServerError:
        tail = "\n".join(self.log.splitlines()[-40:])
        return ServerError(f"{' '.join(self.command)}: {what}. The end of its log:\n{tail}")

    def __enter__(self) -> Self:
        """Give the running program to the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever is left."""
        self.kill()


class Server(ABC):
    """A server program on a port of its own; data outlive `stop` and `kill`, not the block."""

    name: ClassVar[str]
    scheme: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_seconds: ClassVar[float] = 30
    user: ClassVar[str | None] = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"shipshape-{self.name}-", dir="/tmp"))
        self.port = free_port()
        self.log_path = self.folder / "log"
        self._process: Process | None = None
        self._names = itertools.count(1)
        self.env = {
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "PATH": os.environ["PATH"],
        }

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL that a service is given."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether the server serves."""

    @property
    def process(self) -> Process:
        """The process of the running server."""
        if self._process is None:
            raise ServerError(f"{self.name} is not running.")
        return self._process

    def start(self) -> None:
        """Start the server, on the same port and data as before, and wait until it serves."""
        if self._process is not None:
            raise ServerError(f"{self.name} is running already.")
        self._process = Process(
            self.command(), log=self.log_path, cwd=self.folder, env=self.env, user=self.user
        )
        self._process.wait_until(self.ready, "it was ready", seconds=self.start_seconds)

    def stop(self) -> None:
        """End the server as an administrator does, and wait until it is gone."""
        self.process.stop(self.stop_signal)
        self._process = None

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self.process.kill()
        self._process = None

    def suspend(self) -> None:
        """Freeze the server: it accepts, holds its connections, and never answers."""
        self.process.suspend()

    def resume(self) -> None:
        """Let the server go on after `suspend`."""
        self.process.resume()

    def __enter__(self) -> Self:
        """Start the server."""
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the server and remove its files."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder)


class PostgresServer(Server):
    """PostgreSQL: a cluster of its own, trusting everybody, not waiting for the disk."""

    name = "postgres"
    scheme = "postgres"
    stop_signal = signal.SIGINT  # fast: does not wait for clients to leave

    def __init__(self) -> None:
        self._postgres = Path(require_tool("postgres")).resolve()
        super().__init__()
        self.data = self.folder / "data"

    @property
    def user(self) -> str | None:  # type: ignore[override]  # decided by who runs the tests
        """The user to run as: PostgreSQL refuses root."""
        return "postgres" if os.geteuid() == 0 else None

    def start(self) -> None:
        """Make the cluster when there is none, then start the server."""
        if not self.data.exists():
            if self.user:
                shutil.chown(self.folder, self.user)
            initdb = f"{self._postgres.with_name('initdb')} --username=postgres --auth=trust"
            options = f"--no-sync --encoding=UTF8 --locale=C.UTF-8 {self.data}"
            with Process(
                f"{initdb} {options}".split(),
                log=self.log_path,
                cwd=self.folder,
                env=self.env,
                user=self.user,
            ) as process:
                if process.wait(seconds=60):
                    raise ServerError(f"initdb failed:\n{process.log}")
        super().start()

    def command(self) -> list[str]:
        """Return the command of the postmaster."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "max_connections": 300,
            # What is committed outlives the server, not a crash of the machine.
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self._postgres), "-D", str(self.data), *options]

    def ready(self) -> bool:
        """Tell whether a query is answered."""
        try:
            self.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True

    @property
    def url(self) -> str:
        """The URL of the maintenance database; a service gets one from `new_database`."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the URL of a database of this server."""
        return f"{self.scheme}://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._names)}"
        self.execute(f"create database {name}")
        return self.url_of(name)

    def execute(self, statement: str, *values: object, url: str | None = None) -> list[Any]:
        """Run one statement (with %s for values), outside a transaction, and return its rows."""
        with psycopg.connect(url or self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []


class RedisServer(Server):
    """Redis; with `persistent`, every write reaches the disk before it is answered."""

    name = "redis"
    scheme = "redis"

    def __init__(self, *, persistent: bool = False) -> None:
        self._redis = require_tool("redis-server")
        self._client = require_tool("redis-cli")
        super().__init__()
        self.persistent = persistent

    def command(self) -> list[str]:
        """Return the command of the server."""
        settings = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--dir": str(self.folder),
            "--databases": "1000",
            "--save": "",
            "--appendonly": "yes" if self.persistent else "no",
            "--appendfsync": "always",
        }
        return [self._redis, *itertools.chain(*settings.items())]

    def ready(self) -> bool:
        """Tell whether a ping is answered."""
        return self.execute("PING", check=False) == "PONG"

    @property
    def url(self) -> str:
        """The URL of database 0; tests that must not meet each other use `new_database`."""
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """Return the URL of a database of this server."""
        return f"{self.scheme}://127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Return the URL of a database that no test has used yet."""
        return self.url_of(next(self._names))

    def execute(self, *words: str, url: str | None = None, check: bool = True) -> str:
        """Run one command, as in `execute("LLEN", "celery", url=...)`, and return the answer."""
        command = [self._client, "--raw", "-u", url or self.url, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        if check and done.returncode:
            raise ServerError(f"redis-cli {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()


class RabbitMQServer(Server):
    """RabbitMQ: a node of its own, with its own port mapper, cookie and files.

    Debian's /usr/sbin/rabbitmq-server wants to be the user rabbitmq in /var/lib/rabbitmq; the
    program behind it does not care.
    """

    name = "rabbitmq"
    scheme = "amqp"
    start_seconds = 90

    def __init__(self) -> None:
        wrapper = Path(require_tool("rabbitmq-server"))
        own = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        self._rabbitmq = own if own.exists() else wrapper.resolve()
        self._epmd = require_tool("epmd")
        super().__init__()
        self._mapper: Process | None = None
        self._mapper_port = free_port()
        self.env |= {
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no-environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_NODENAME": f"shipshape{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            # One scheduler a core is a busy machine's last straw: the broker is not what is tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 50MB\n")

    def start(self) -> None:
        """Start the port mapper, which Erlang would leave running for ever, then the server."""
        if self._mapper is None:
            command = [self._epmd, "-port", str(self._mapper_port), "-address", "127.0.0.1"]
            log = self.folder / "epmd.log"
            self._mapper = Process(command, log=log, cwd=self.folder, env=self.env)
        super().start()

    def command(self) -> list[str]:
        """Return the command of the node."""
        return [str(self._rabbitmq)]

    def ready(self) -> bool:
        """Tell whether the node starts an AMQP conversation."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                # A method frame on channel 0: connection.start.
                return connection.recv(3) == b"\x01\x00\x00" and "completed" in self.process.log
        except OSError:
            return False

    @property
    def url(self) -> str:
        """The URL of the default virtual host; see `new_vhost`."""
        return f"{self.scheme}://guest:guest@127.0.0.1:{self.port}//"

    def new_vhost(self) -> str:
        """Make an empty virtual host and return its URL (about a second: Erlang's start)."""
        name = f"test_{next(self._names)}"
        self.control(
            "eval",
            f'rabbit_vhost:add(<<"{name}">>, <<"tests">>),'
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>,'
            ' <<".*">>, <<".*">>, <<".*">>, <<"tests">>).',
        )
        return f"{self.scheme}://guest:guest@127.0.0.1:{self.port}/{name}"

    def control(self, *words: str) -> str:
        """Run rabbitmqctl, as in `control("list_queues", "--vhost", "test_1", "name", "type")`."""
        command = [str(self._rabbitmq.with_name("rabbitmqctl")), "--quiet", *words]
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise ServerError(f"rabbitmqctl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def __exit__(self, *error: object) -> None:
        """End the node and its port mapper, and remove the files."""
        if self._mapper is not None:
            self._mapper.kill()
        super().__exit__(*error)


class S3Server(Server):
    """A store that speaks S3: it refuses strangers what is private, but believes any signature."""

    name = "s3"
    scheme = "http"

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._program = require_tool("moto_server")
        self._host = host
        super().__init__()

    def command(self) -> list[str]:
        """Return the command of the server."""
        return [self._program, "--host", self._host, "--port", str(self.port)]

    def ready(self) -> bool:
        """Tell whether it answers."""
        return answers_http(self.url)

    @property
    def url(self) -> str:
        """The address of the store."""
        return f"{self.scheme}://{self._host}:{self.port}"

    def new_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"test-{next(self._names)}"
        answer = http_request(f"{self.url}/{name}", method="PUT")
        if answer.status != 200:
            raise ServerError(f"No bucket was made: {answer.text}")
        return name


class MuteServer:
    """A server that accepts every connection, reads nothing and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """The port it accepts on."""
        port: int = self._socket.getsockname()[1]
        return port

    def url(self, scheme: str, path: str = "0") -> str:
        """Return a URL that leads here, as in `mute.url("redis")`."""
        return f"{scheme}://127.0.0.1:{self.port}/{path}"

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return len(self._connections)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the socket is closed: the end
            while True:
                self._connections.append(self._socket.accept()[0])

    def __enter__(self) -> Self:
        """Accept from now on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        for connection in self._connections:
            connection.close()


@dataclass(frozen=True)
class EnvelopeItem:
    """One part of an envelope of Sentry's SDK: its type (event, transaction, …) and data."""

    type: str
    payload: Any


class StandIn:
    """A service of HTTP on a free port that stands in for another's; it says nothing."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        silent = type("Silent", (handler,), {"log_message": lambda *_: None})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), silent)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Listen from now on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class SentrySink(StandIn):
    """A stand-in for Sentry's ingestion that keeps what it is sent."""

    def __init__(self) -> None:
        self.items: list[EnvelopeItem] = []
        self._arrived = threading.Condition()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink._keep(body, self.headers.get("Content-Encoding", "identity"))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        super().__init__(Handler)

    @property
    def dsn(self) -> str:
        """The value for SENTRY_DSN."""
        return f"http://public@127.0.0.1:{self.port}/1"

    @property
    def events(self) -> list[Any]:
        """The events (errors and messages) that have arrived."""
        return self.of_type("event")

    def of_type(self, kind: str) -> list[Any]:
        """Return the data of all items of a type that have arrived."""
        return [item.payload for item in self.items if item.type == kind]

    def wait_for(self, kind: str = "event", *, count: int = 1, seconds: float = 15) -> list[Any]:
        """Return the items of a type as soon as there are `count`; raise ServerError if not."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.of_type(kind)) >= count, seconds):
                kinds = [item.type for item in self.items]
                raise ServerError(f"Waited {seconds} s for {count} {kind}; arrived: {kinds}.")
            return self.of_type(kind)

    def _keep(self, body: bytes, encoding: str) -> None:
        decode: dict[str, Callable[[bytes], bytes]] = {
            "identity": bytes,
            "gzip": gzip.decompress,
            "br": brotli.decompress,
        }
        rest = decode[encoding](body).partition(b"\n")[2]  # without the envelope's own header
        with self._arrived:
            while rest.strip():
                line, _, rest = rest.partition(b"\n")
                header = json.loads(line)
                length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
                payload, rest = rest[:length], rest[length:].removeprefix(b"\n")
                with contextlib.suppress(ValueError):  # attachments are not JSON
                    self.items.append(EnvelopeItem(header["type"], json.loads(payload)))
            self._arrived.notify_all()


class MailServer:
    """A server that keeps the mail that it is sent, for each of the ways that EMAIL_URL knows.

    By `smtp+tls` it insists on STARTTLS and a login. `certificate` is to be trusted by the client.
    """

    login = ("someone@example.com", "p@ss/word")

    def __init__(self, scheme: str, folder: Path) -> None:
        self.mails: list[Message] = []
        self.port = free_port()
        self.scheme = scheme
        self.certificate = folder / "certificate.pem"
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        if scheme != "smtp":
            make_certificate(self.certificate)
            context.load_cert_chain(self.certificate)
        options: dict[str, Any] = {}
        if scheme == "smtps":
            options = {"ssl_context": context}
        if scheme == "smtp+tls":
            known = tuple(word.encode() for word in self.login)
            options = {
                "tls_context": context,
                "require_starttls": True,
                "auth_required": True,
                "authenticator": lambda *args: AuthResult(
                    success=(args[-1].login, args[-1].password) == known
                ),
            }
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)

    @property
    def url(self) -> str:
        """The value for EMAIL_URL."""
        words = ":".join(urllib.parse.quote(word, safe="") for word in self.login)
        login = f"{words}@" if self.scheme == "smtp+tls" else ""
        return f"{self.scheme}://{login}127.0.0.1:{self.port}"

    # The name is aiosmtpd's.
    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's name)
        """Keep a mail; the name is aiosmtpd's."""
        self.mails.append(email.message_from_bytes(envelope.original_content or b""))
        return "250 OK"

    def __enter__(self) -> Self:
        """Listen from now on."""
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._controller.stop()


def make_certificate(file: Path) -> None:
    """Write a certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = file.with_name("key.pem")
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [require_tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject]
    subprocess.run([*command, "-keyout", key, "-out", file], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())


@contextlib.contextmanager
def browser(*options: str) -> Iterator[Chrome]:
    """Start Chromium, and end it."""
    settings = ChromeOptions()
    settings.binary_location = require_tool("chromium")
    for option in ("--headless", "--no-sandbox", "--disable-gpu", *options):
        settings.add_argument(option)
    settings.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(settings, ChromeService(require_tool("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def browse(driver: Chrome, url: str, mark: str) -> tuple[str, list[str]]:
    """Return a page once it holds this mark, and what the browser says of it in its console.

    The icon, which a browser asks every site for, may be missing. Raise TimeoutException when the
    page does not get to that in a minute.
    """
    driver.get(url)
    wait = WebDriverWait(driver, timeout=60)
    wait.until(lambda driver: mark in driver.page_source, f"{url} never holds {mark}.")
    log = driver.get_log("browser")  # type: ignore[no-untyped-call]  # has no types in Selenium
    said = [line["message"] for line in log]
    return driver.page_source, [line for line in said if "/favicon.ico" not in line]
