"""Phones on bad networks and slow downloads keep nobody waiting: by threads, or behind a proxy."""

import base64
import getpass
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.utils import timezone

from analytics.datasets.building import build_snapshot
from analytics.datasets.snapshots import request_snapshot
from analytics.models import Snapshot
from ema import stack
from ema.audit import COMMAND
from tests.analytics.answers import make_trial, make_user
from tests.flow.conftest import ENVIRON, database_url
from tests.scheduler.fakes.tls import Certificate, make_certificate

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]
HOST = "127.0.0.1"
NGINX = shutil.which("nginx")
CONFIGURATION = Path(__file__).parents[2] / "docs/nginx.conf"
LARGE = 32_000_000  # bytes: more than the buffers of both ends of a connection hold
BRIEFLY_S, LONG_ENOUGH_S = 1.0, 20.0
COMMON = f"HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-Proto: https\r\n"
UPLOAD = (
    f"POST /api/v1/me/submissions:batch {COMMON}Authorization: Bearer of-nobody\r\n"
    'Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{"items": ['
).encode()
Connect = Callable[[], socket.socket]


@pytest.fixture
def download(tmp_path: Path) -> bytes:
    """A statistician's request for a large file."""
    study = make_trial(n=6)
    make_user("stat", study, "statistician")
    snapshot = request_snapshot(study, COMMAND, "masked", timezone.now())
    large_file_of(snapshot)
    signed = base64.b64encode(b"stat:correct horse").decode()
    address = f"/api/v1/studies/{study.slug}/snapshots/{snapshot.pk}/files/data/prompts.csv"
    return f"GET {address} {COMMON}Authorization: Basic {signed}\r\n\r\n".encode()


def large_file_of(snapshot: Snapshot) -> None:
    with (build_snapshot(snapshot).directory / "data/prompts.csv").open("ab") as file:
        file.write(b"," * LARGE)


@contextmanager
def web(threads: int) -> Iterator[int]:
    """A web server of one process with so many threads; its port."""
    environ = {
        **ENVIRON,
        "DATABASE_URL": database_url(),
        "SECRET_KEY": settings.SECRET_KEY,
        "SNAPSHOT_DIR": str(settings.SNAPSHOT_DIR),
    }
    port = stack.free_port()
    with stack.running(stack.start_web(HOST, port, threads=threads, environ=environ)):
        yield port


@contextmanager
def nginx(web_port: int, directory: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """nginx as the documentation configures it; its port, and whom to trust."""
    certificate, port = make_certificate(directory), stack.free_port()
    (directory / "site.conf").write_text(configured(web_port, port, certificate))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    (directory / "nginx.conf").write_text(
        f"daemon off; user {getpass.getuser()}; pid {directory}/pid; error_log {directory}/log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{paths}include {directory}/site.conf;\n}}\n"
    )
    trust = ssl.create_default_context(cafile=certificate.path)
    process = subprocess.Popen(
        [str(NGINX), "-c", directory / "nginx.conf", "-e", directory / "log"]
    )
    try:
        wait_until_it_listens(port, process)
        yield port, trust
    finally:
        process.terminate()
        process.wait()


def configured(web_port: int, port: int, certificate: Certificate) -> str:
    """The documented file with another port, another certificate and another web server."""
    text = CONFIGURATION.read_text()
    place = "/etc/letsencrypt/live/trial.example.org"
    for ours, tried in {
        "listen 80;": f"listen {HOST}:{stack.free_port()};",
        "listen 443 ssl;": f"listen {HOST}:{port} ssl;",
        f"{place}/fullchain.pem": str(certificate.path),
        f"{place}/privkey.pem": str(certificate.key_path),
        "http://127.0.0.1:8000": f"http://{HOST}:{web_port}",
    }.items():
        assert text.count(ours) == 1, ours
        text = text.replace(ours, tried)
    return text


def wait_until_it_listens(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nginx ended with {process.returncode}")


@contextmanager
def slow_clients(connect: Connect, *requests: bytes) -> Iterator[None]:
    """Clients that send a request and read the first bytes of what comes, if that is soon."""
    with ExitStack() as held:
        for request in requests:
            client = held.enter_context(connect())
            client.sendall(request)
            client.settimeout(LONG_ENOUGH_S)
            if request.startswith(b"GET"):
                assert client.recv(100).startswith(b"HTTP/1.1 200")
        time.sleep(0.2)  # until what was sent has reached a web process
        yield


def plain(port: int) -> Connect:
    return lambda: connected(port)


def encrypted(port: int, trust: ssl.SSLContext) -> Connect:
    return lambda: trust.wrap_socket(connected(port), server_hostname=HOST)


def connected(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((HOST, port))
    return client


def is_answered(
    url: str, trust: ssl.SSLContext | bool = True, within: float = LONG_ENOUGH_S
) -> bool:
    try:
        answer = httpx.get(f"{url}/health/live", timeout=within, verify=trust)
    except httpx.TimeoutException:
        return False
    return answer.status_code == httpx.codes.OK


def test_one_thread_waits_for_whoever_is_slow(download: bytes) -> None:
    with web(threads=1) as port:
        for request in (UPLOAD, download):
            with slow_clients(plain(port), request):
                assert not is_answered(f"http://{HOST}:{port}", within=BRIEFLY_S)


def test_others_are_answered_by_the_threads_that_are_left(download: bytes) -> None:
    with web(threads=4) as port, slow_clients(plain(port), UPLOAD, UPLOAD, download):
        assert all(is_answered(f"http://{HOST}:{port}") for _ in range(5))


@pytest.mark.skipif(NGINX is None, reason="nginx is not here: apt-get install nginx-light")
def test_nginx_waits_for_whoever_is_slow_and_one_thread_answers_all(
    download: bytes, tmp_path: Path
) -> None:
    with web(threads=1) as web_port, nginx(web_port, tmp_path) as (port, trust):
        slow = [UPLOAD, UPLOAD, download, download]
        with slow_clients(encrypted(port, trust), *slow):
            assert all(is_answered(f"https://{HOST}:{port}", trust) for _ in range(5))
