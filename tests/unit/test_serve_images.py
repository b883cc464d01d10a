"""Images at addresses: off by default, then from listed hosts only, and never from elsewhere."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2
import pytest
from serve_data import IMAGE, Running, TextScorer, asked, running
from serve_images import ImageServer
from typer.testing import CliRunner

from vilbench.cli.app import app
from vilbench.errors import InputError
from vilbench.serve.addresses import AddressError, AllowList
from vilbench.serve.fetching import Fetcher
from vilbench.serve.limits import Limits
from vilbench.serve.upstream import Upstream
from vilbench.testing import ScriptedEngine, tiny_png
from vilbench.types import BytesSource, Image

LIMITS = Limits(image_bytes=100_000, pixels=10_000, body_bytes=150_000, fetch_seconds=0.6)
NAME = "images.example.org"


def resolver(*answers: Sequence[str]) -> tuple[list[str], object]:
    """Tells the first answer first, then the next; the last one again and again."""
    calls: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        calls.append(host)
        return answers[min(len(calls), len(answers)) - 1]

    return calls, resolve


def fetcher(*hosts: str, resolve: object = None, limits: Limits = LIMITS) -> Fetcher:
    if resolve is None:
        return Fetcher(AllowList(hosts), limits)
    return Fetcher(AllowList(hosts), limits, resolve)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def source() -> Iterator[ImageServer]:
    with ImageServer() as found:
        yield found


@pytest.fixture
def images(source: ImageServer) -> ImageServer:
    """The server of images, of which nothing has been asked yet."""
    source.asked.clear()
    source.sent = 0
    return source


@pytest.fixture(scope="module")
def server(source: ImageServer) -> Iterator[Running]:
    listed = fetcher(f"127.0.0.1:{source.port}", f"localhost:{source.port}", NAME)
    with running(TextScorer(), limits=LIMITS, fetcher=listed) as found:
        yield found


def score(server: Running, *urls: str) -> httpx2.Response:
    body = {**asked("Step 1: x"), "problem": {"question": "How many?", "images": list(urls)}}
    return server.post("/v1/score", body)


def refused(reply: httpx2.Response, status: int, code: str) -> None:
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code), reply.text
    assert error["param"] == "problem.images[0]"
    for private in ("127.0.0.1", "localhost", "example", "http:", "https:/"):
        assert private not in reply.text


def test_off_by_default(images: ImageServer) -> None:
    with running(TextScorer(), limits=LIMITS) as server:
        refused(score(server, f"http://127.0.0.1:{images.port}/sound"), 400, "invalid_value")
        refused(reply := score(server, f"https://{NAME}/sound"), 400, "invalid_value")
        assert "--allow-image-host" in reply.json()["error"]["message"]
        refused(reply := score(server, "no address"), 400, "invalid_value")
        assert "--allow-image-host" not in reply.text
    assert images.asked == []


def test_an_image_is_the_same_wherever_it_comes_from(images: ImageServer, server: Running) -> None:
    given = score(server, IMAGE)
    for host in ("127.0.0.1", "localhost", "LOCALHOST"):
        reply = score(server, f"http://{host}:{images.port}/sound?size=1&x=%20")
        assert reply.status_code == 200
        assert reply.json()["results"] == given.json()["results"]
    assert images.asked == ["/sound?size=1&x=%20"] * 3


def test_nothing_of_the_request_goes_with_it(
    images: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    token = "a token that is secret"  # noqa: S105
    listed = fetcher(f"127.0.0.1:{images.port}")
    problem = {"question": "?", "images": [f"http://127.0.0.1:{images.port}/sound"]}
    with (
        running(TextScorer(), limits=LIMITS, fetcher=listed, token=token) as server,
        httpx2.Client(base_url=server.url, trust_env=False) as client,
    ):
        headers = {"authorization": f"Bearer {token}", "cookie": "a=b", "referer": server.url}
        body = {**asked("Step 1: x"), "problem": problem}
        assert client.post("/v1/score", json=body, headers=headers).status_code == 200
    assert set(images.shown) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
    assert images.shown["Host"] == f"127.0.0.1:{images.port}"


def test_the_proxy_fetches_too_and_the_engine_gets_the_bytes(images: ImageServer) -> None:
    engine = ScriptedEngine({"": ["Step 1: x"]}, name="solver")
    listed = fetcher(f"127.0.0.1:{images.port}")
    upstream = Upstream(lambda: engine)
    with running(TextScorer(), upstream=upstream, limits=LIMITS, fetcher=listed) as server:
        picture = {"url": f"http://127.0.0.1:{images.port}/sound"}
        content = [
            {"type": "text", "text": "How many?"},
            {"type": "image_url", "image_url": picture},
        ]
        body = {"model": "solver", "messages": [{"role": "user", "content": content}]}
        assert server.post("/v1/chat/completions", body).status_code == 200
        picture["url"] = f"http://127.0.0.1:{images.port + 1}/sound"
        reply = server.post("/v1/chat/completions", body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "image_address")
    (prompt,) = engine.prompts
    assert prompt.parts[0] == Image.of(BytesSource(tiny_png("teal", (64, 64))))


ODD = [
    "http://2130706433:PORT/sound",
    "http://0177.0.0.1:PORT/sound",
    "http://0x7f.0.0.1:PORT/sound",
    "http://0x7f000001:PORT/sound",
    "http://017700000001:PORT/sound",
    "http://127.1:PORT/sound",
    "http://127.0.1:PORT/sound",
    "http://127.0.0.01:PORT/sound",
    "http://127.0.0.1.:PORT/sound",
    "http://0:PORT/sound",
    "http://0.0.0.0:PORT/sound",
    "http://[::1]:PORT/sound",
    "http://[::]:PORT/sound",
    "http://[::ffff:127.0.0.1]:PORT/sound",
    "http://[::ffff:7f00:1]:PORT/sound",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/sound",
    "http://[::127.0.0.1]:PORT/sound",
    "http://[::1%25lo]:PORT/sound",
    "http://localhost.:PORT/sound",
    "http://localhost..:PORT/sound",
    "http://.localhost:PORT/sound",
    "http://x.localhost:PORT/sound",
    "http://127.0.0.1.nip.io:PORT/sound",
    "http://localhost%2e:PORT/sound",
    "http://%6cocalhost:PORT/sound",
    "http://user@localhost:PORT/sound",
    "http://user:pass@127.0.0.1:PORT/sound",
    "http://@127.0.0.1:PORT/sound",
    f"http://{NAME}@127.0.0.1:PORT/sound",
    "http://127.0.0.1:PORT@evil.example/sound",
    "http://127.0.0.1:PORT\\@evil.example/sound",
    "http://evil.example\\@127.0.0.1:PORT/sound",
    "http:\\\\127.0.0.1:PORT\\sound",
    "http:/127.0.0.1:PORT/sound",
    "http:127.0.0.1:PORT/sound",
    "http:///127.0.0.1:PORT/sound",
    "http://127.0.0.1:PORT#@evil.example/sound",
    "http://127.0.0.1:PORT/sound#part",
    "http://127.0.0.1:PORT:80/sound",
    "http://127.0.0.1:0PORT/sound",
    "http://127.0.0.1:/sound",
    "http://127.0.0.1/sound",
    "http://127.0.0.1:99999/sound",
    "http://127.0.0.1:PORT/so und",
    "http://127.0.0.1:PORT/sound\r\nX-Header: y",
    "http://127.0.0.1:PORT/sound\tx",
    "http://127.0.0.1:PORT/sound\0x",
    "http://127.0.0.1:PORT/s\u00f6und",
    "http://\u24dbocalhost:PORT/sound",
    "http://loc\u0430lhost:PORT/sound",
    "http://local\u00adhost:PORT/sound",
    "http://127\u30020\u30020\u30021:PORT/sound",
    "http://\uff11\uff12\uff17.0.0.1:PORT/sound",
    "http://xn--locahost-4yb:PORT/sound",
    f"http://{NAME}/sound",
    f"https://{NAME}:8443/sound",
    f"https://sub.{NAME}/sound",
    f"https://{NAME}.evil.example/sound",
    "https://127.0.0.1:PORT/" + "x" * 3000,
    "https://evil.example/sound",
]


@pytest.mark.parametrize("url", ODD)
def test_odd_addresses_are_refused_unasked(images: ImageServer, server: Running, url: str) -> None:
    refused(score(server, url.replace("PORT", str(images.port))), 400, "image_address")
    assert images.asked == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1:PORT/x", "//127.0.0.1:PORT/sound", " http://a/"]
)
def test_other_schemes_are_no_images(images: ImageServer, server: Running, url: str) -> None:
    refused(score(server, url.replace("PORT", str(images.port))), 400, "invalid_value")
    assert images.asked == []


PUBLIC = ["93.184.216.34", "2606:2800:220:1::1"]
PRIVATE = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12:3456::1"]
NEVER = [
    *("127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "0.1.2.3", "::"),  # noqa: S104
    *("169.254.169.254", "169.254.1.1", "fe80::1", "100.100.100.200", "168.63.129.16"),
    *("fd00:ec2::254", "fd20:ce::254", "192.0.0.192", "224.0.0.1", "ff02::1"),
    *("240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "2001:db8::1", "fec0::1"),
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("2002:7f00:1::1", "2001:0:7f00:1::1", "64:ff9b:1::1", "192.88.99.1", "3fff::1"),
]


@pytest.mark.parametrize("address", [*PUBLIC, *PRIVATE, *NEVER])
def test_where_names_may_lead(address: str) -> None:
    allowed = AllowList([NAME, f"{NAME}:8443", "localhost:8443"])
    found = ipaddress.ip_address(address)

    def may(url: str) -> bool:
        try:
            allowed.check(allowed.target(url), found)
        except AddressError:
            return False
        return True

    assert may(f"https://{NAME}/x") == (address in PUBLIC)
    # With its port in the list the host may be on a private network, and nowhere else.
    assert may(f"https://{NAME}:8443/x") == (address not in NEVER)
    assert may(f"http://{NAME}:8443/x") == (address not in NEVER)
    here = address in ("127.0.0.1", "127.8.8.8", "::1")
    assert may("https://localhost:8443/x") == (address not in NEVER or here)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:80", "169.254.169.254:80", "[::1]:80", "[fe80::1]:80"]
)
def test_an_address_in_the_list_is_that_address_alone(address: str) -> None:
    allowed = AllowList([address])
    target = allowed.target(f"http://{address}/x")
    assert target.literal is not None
    allowed.check(target, target.literal)
    for other in ("127.0.0.2", "169.254.169.253", "fe80::2", "::", "0.0.0.0"):  # noqa: S104
        with pytest.raises(AddressError):
            allowed.check(target, ipaddress.ip_address(other))
    with pytest.raises(InputError, match="port"):
        AllowList([address.rpartition(":")[0]])


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], [PUBLIC[0], "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]]
)
def test_a_name_that_leads_here_is_not_followed(images: ImageServer, answer: list[str]) -> None:
    calls, resolve = resolver(answer)
    listed = fetcher(f"{NAME}:{images.port}", resolve=resolve)
    with running(TextScorer(), limits=LIMITS, fetcher=listed) as server:
        refused(score(server, f"http://{NAME}:{images.port}/sound"), 400, "image_address")
    assert (images.asked, calls) == ([], [NAME])


def test_a_name_that_is_bound_anew_leads_to_the_address_that_was_checked(
    images: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_system: list[object] = []
    system = socket.getaddrinfo

    def noted(host: object, *more: object, **named: object) -> object:
        by_system.append(host)
        return system(host, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    calls, resolve = resolver(["127.0.0.1"], ["127.0.0.2"])
    listed = fetcher(f"localhost:{images.port}", resolve=resolve)
    with (
        ImageServer("127.0.0.2", images.port) as other,
        running(TextScorer(), limits=LIMITS, fetcher=listed) as server,
    ):
        assert score(server, f"http://localhost:{images.port}/sound").status_code == 200
        assert (calls, images.asked, other.asked) == (["localhost"], ["/sound"], [])
        assert score(server, f"http://localhost:{images.port}/sound").status_code == 200
        assert (len(images.asked), len(other.asked)) == (1, 1)
    assert "localhost" not in by_system


def test_the_next_address_is_tried_where_one_takes_no_connection(images: ImageServer) -> None:
    _, resolve = resolver(["127.0.0.9", "127.0.0.1"])
    listed = fetcher(f"localhost:{images.port}", resolve=resolve)
    with running(TextScorer(), limits=LIMITS, fetcher=listed) as server:
        assert score(server, f"http://localhost:{images.port}/sound").status_code == 200


def test_a_name_without_an_address(images: ImageServer) -> None:
    def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(8, "/etc/resolv.conf at 10.0.0.1")

    listed = fetcher(NAME, resolve=nowhere)
    with running(TextScorer(), limits=LIMITS, fetcher=listed) as server:
        reply = score(server, f"https://{NAME}/sound")
        refused(reply, 502, "image_failed")
        assert "resolv" not in reply.text and "10.0.0.1" not in reply.text


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
def test_redirects_are_not_followed(images: ImageServer, server: Running, status: int) -> None:
    reply = score(server, f"http://127.0.0.1:{images.port}/status/{status}")
    refused(reply, 400, "image_redirect")
    assert images.asked == [f"/status/{status}"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("status/404", 400, "image_failed"),
        ("status/403", 400, "image_failed"),
        ("status/500", 502, "image_failed"),
        ("status/206", 502, "image_failed"),
        ("status/204", 502, "image_failed"),
        ("packed", 502, "image_failed"),
        ("cut", 502, "image_failed"),
        ("noise", 502, "image_failed"),
        ("headers", 502, "image_failed"),
        ("nothing", 502, "image_failed"),
        ("untyped", 400, "invalid_image"),
        ("svg", 400, "invalid_image"),
        ("bomb", 400, "invalid_image"),
        ("endless", 413, "too_large"),
        ("announced", 413, "too_large"),
        ("large/100000", 413, "too_large"),
        ("drip", 504, "image_timeout"),
        ("silent", 504, "image_timeout"),
    ],
)
def test_what_does_not_come_as_an_image(
    images: ImageServer, server: Running, path: str, status: int, code: str
) -> None:
    begun = time.monotonic()
    refused(score(server, f"http://127.0.0.1:{images.port}/{path}"), status, code)
    assert time.monotonic() - begun < 3
    assert images.sent < 4_000_000  # what the buffers of two sockets hold, and no more
    assert score(server, f"http://127.0.0.1:{images.port}/sound").status_code == 200


def test_what_a_server_says_of_the_type_is_not_asked(images: ImageServer, server: Running) -> None:
    assert score(server, f"http://127.0.0.1:{images.port}/typed").status_code == 200


def test_images_count_as_if_they_had_come_with_the_request(
    images: ImageServer, server: Running
) -> None:
    url = f"http://127.0.0.1:{images.port}/large/80000"
    assert score(server, url).status_code == 200
    reply = score(server, url, url)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")
    listed = fetcher(f"127.0.0.1:{images.port}")
    small = Limits(held_bytes=50_000)
    with running(TextScorer(), limits=small, fetcher=listed) as other:
        for _ in range(2):
            assert score(other, url).status_code == 429
            assert score(other, f"http://127.0.0.1:{images.port}/sound").status_code == 200


def test_a_resolver_that_hangs_holds_up_nobody_else(images: ImageServer) -> None:
    over = threading.Event()

    def slow(host: str, port: int) -> Sequence[str]:
        over.wait(3)
        return ["127.0.0.1"]

    listed = fetcher(NAME, f"127.0.0.1:{images.port}", resolve=slow)
    with running(TextScorer(), limits=LIMITS, fetcher=listed) as server:
        refused(score(server, f"https://{NAME}/sound"), 504, "image_timeout")
        for url in (f"http://127.0.0.1:{images.port}/sound", IMAGE):
            assert score(server, url).status_code == 200
        over.set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that vouches for itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "one.pem")]
    subprocess.run(command, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "one.pem").read_text() + (folder / "key.pem").read_text())
    return both


def test_certificates_are_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ImageServer(certificate=str(certificate)) as images:
        hosts = [f"localhost:{images.port}", f"127.0.0.1:{images.port}"]
        with running(TextScorer(), limits=LIMITS, fetcher=fetcher(*hosts)) as server:
            refused(score(server, f"https://localhost:{images.port}/sound"), 502, "image_failed")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with running(TextScorer(), limits=LIMITS, fetcher=fetcher(*hosts)) as server:
            assert score(server, f"https://localhost:{images.port}/sound").status_code == 200
            # The certificate is the name's and not the address's.
            refused(score(server, f"https://127.0.0.1:{images.port}/sound"), 502, "image_failed")
        assert images.asked == ["/sound"]


@pytest.mark.parametrize(
    "entry",
    [
        *("", "*", "*.example.org", "https://example.org", "example.org/", "example.org:", "a b"),
        *("example.org.", "user@example.org", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0"),
        *("[::ffff:127.0.0.1]:80", "[0::1]:80", "::1", "ex\u00e4mple.org", "example.org:0"),
        *("example.org:080", "-example.org", "a..b", "[127.0.0.1]:80"),
    ],
)
def test_entries_of_the_list_are_plain(entry: str) -> None:
    with pytest.raises(InputError) as caught:
        AllowList([entry])
    assert caught.value.field == "--allow-image-host"


@pytest.mark.parametrize(
    "entry", ["localhost", "127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "LOCALHOST"]
)
def test_places_beyond_the_public_network_need_their_port(entry: str) -> None:
    with pytest.raises(InputError, match="port"):
        AllowList([entry])
    assert AllowList([f"{entry}:8080"]).target(f"http://{entry}:8080/x").exact


def test_the_command_looks_at_the_list_before_it_loads_a_model() -> None:
    arguments = ["serve", "embedded:vilprm", "--allow-image-host", "http://127.0.0.1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "is no host" in result.stderr
