"""Who may ask the viewer, over every route and every method."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from viewer_data import ask, made, png, run_address, viewer

from vilbench.viewer.guard import COOKIE, LOGIN, OPEN, POLICY, Guard

TOKEN = "a token of more than sixteen"  # noqa: S105 - of these tests
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("viewer") / "run")


@pytest.fixture(scope="module")
def app(folder: Path) -> Guard:
    return viewer(folder)


@pytest.fixture(scope="module")
def closed(folder: Path) -> Guard:
    return viewer(folder, TOKEN)


def paths(guard: Guard) -> list[str]:
    """An address of every route there is."""
    inner = guard._app
    assert isinstance(inner, Starlette)
    values = {"run": "run-000000", "position": "1", "digest": "0" * 64, "name": "viewer.js"}
    routes = [route for route in inner.routes if isinstance(route, Route)]
    assert len(routes) == len(inner.routes)
    return sorted({route.path.format(**values) for route in routes})


def test_every_route_and_method_is_behind_the_token(closed: Guard) -> None:
    asked = 0
    for path in [*paths(closed), "/nothing", "/static/nothing", "//", "/login/", "/login/x"]:
        for method in METHODS:
            answer = ask(closed, "/", method, path=path)
            asked += 1
            if path in OPEN:
                assert answer.status in (200, 405) or (path, method) == (LOGIN, "POST")
            elif method in ("GET", "HEAD"):
                assert answer.status == 401, (path, method)
            else:
                assert answer.status == 405, (path, method)
    assert asked > 100


def test_every_answer_forbids_what_it_can(app: Guard, closed: Guard) -> None:
    for guard in (app, closed):
        for path in [*paths(guard), "/nothing"]:
            for method in METHODS:
                told = ask(guard, "/", method, path=path).headers
                assert told["x-content-type-options"] == "nosniff"
                assert told["referrer-policy"] == "same-origin"
                assert told["x-frame-options"] == "DENY"
                assert told["cross-origin-resource-policy"] == "same-origin"
                assert "default-src 'none'" in told["content-security-policy"]
                assert "frame-ancestors 'none'" in told["content-security-policy"]
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "localhost:port",
        "localhost:8765:1",
        " localhost",
        "localhost/",
        "",
        None,
    ],
)
def test_rebound_names_reach_nothing(app: Guard, host: str | None) -> None:
    for path in paths(app):
        assert ask(app, "/", path=path, host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9000", "[::1]:8765"])
def test_names_of_this_machine_are_served(app: Guard, host: str) -> None:
    assert ask(app, "/", host=host).status == 200


def test_two_host_headers_are_one_too_many(app: Guard) -> None:
    assert ask(app, "/", headers=[("host", "localhost")]).status == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://localhost:8765"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://"}, 403),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, 200),
        ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "iframe",
            },
            403,
        ),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            },
            200,
        ),
    ],
)
def test_other_sites_may_link_and_no_more(app: Guard, headers: dict[str, str], status: int) -> None:
    assert ask(app, "/", headers=headers).status == status


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("authorization", f"Bearer {TOKEN}", 200),
        ("authorization", f"bearer  {TOKEN} ", 200),
        ("authorization", f"Bearer {TOKEN}x", 401),
        ("authorization", f"Bearer {TOKEN[:-1]}", 401),
        ("authorization", f"Basic {TOKEN}", 401),
        ("authorization", "Bearer", 401),
        ("authorization", "Bearer \xff\xfe", 401),
        ("cookie", f"{COOKIE}={TOKEN}", 401),
        ("cookie", f"{COOKIE}=", 401),
        ("cookie", "\xff=;;==", 401),
    ],
)
def test_only_the_token_opens(closed: Guard, header: str, value: str, status: int) -> None:
    assert ask(closed, "/", headers={header: value}).status == status


def test_the_form_gives_a_cookie_that_opens_and_is_not_the_token(closed: Guard) -> None:
    page = {"accept": "text/html"}
    sent = ask(closed, "/runs/x?right=prm&page=2", headers=page)
    assert sent.status == 303
    assert sent.headers["location"] == "/login?next=%2Fruns%2Fx%3Fright%3Dprm%26page%3D2"
    form = ask(closed, sent.headers["location"], headers=page)
    assert 'value="/runs/x?right=prm&amp;page=2"' in form.text

    body = f"token={TOKEN.replace(' ', '+')}&next=%2Fruns%2Fx".encode()
    entered = ask(closed, LOGIN, "POST", body=body)
    assert (entered.status, entered.headers["location"]) == (303, "/runs/x")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    assert TOKEN not in cookie and "a+token" not in cookie
    held = {"cookie": cookie.partition(";")[0]}
    assert ask(closed, "/", headers=held).status == 200
    other = viewer(Path(closed._app.state.library.root), TOKEN + "!")  # type: ignore[attr-defined]
    assert ask(other, "/", headers=held).status == 401


@pytest.mark.parametrize("body", [b"", b"token=", b"token=wrong", b"\xff\xfe=1", b"a=1&" * 50])
def test_a_wrong_token_opens_nothing(closed: Guard, body: bytes) -> None:
    answer = ask(closed, LOGIN, "POST", body=body)
    assert answer.status in (303, 400)
    assert "set-cookie" not in answer.headers
    if answer.status == 303:
        assert answer.headers["location"].startswith("/login?wrong")


def test_a_form_of_any_size_is_not_read(closed: Guard) -> None:
    assert ask(closed, LOGIN, "POST", body=b"token=" + b"x" * 10_000).status == 413


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "x", "/a\r\nb: c"]
)
def test_the_form_leads_nowhere_else(closed: Guard, wanted: str) -> None:
    from urllib.parse import urlencode

    body = urlencode({"token": TOKEN, "next": wanted}).encode()
    assert ask(closed, LOGIN, "POST", body=body).headers["location"] == "/"


def test_a_foreign_form_cannot_log_in(closed: Guard) -> None:
    body = f"token={TOKEN}".encode()
    foreign = {"origin": "http://evil.example"}
    assert ask(closed, LOGIN, "POST", headers=foreign, body=body).status == 403


TRAVERSALS = (
    "..",
    "../..",
    "..%2f..",
    "%2e%2e",
    "....//",
    "..\\..",
    "/etc/passwd",
    "C:\\Windows",
    "run\x00",
    "~root",
    ".",
    "%00",
    "\u2025",
    "manifest.json",
)


@pytest.mark.parametrize("name", TRAVERSALS)
def test_names_of_addresses_reach_no_path(app: Guard, name: str) -> None:
    run = run_address(app)
    for path in (
        f"/runs/{name}",
        f"/runs/{name}/problems",
        f"/runs/{name}/report",
        f"{run}/{name}",
        f"{run}/images/{name}",
        f"{run}/problems/{name}",
        f"{run}/trees/{name}",
        f"/static/{name}",
        f"/static/../{name}",
    ):
        answer = ask(app, "/", path=path)
        assert answer.status == 404, path
        assert "root:" not in answer.text and "fingerprint" not in answer.text


def test_links_out_of_a_run_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(png((1, 2, 3)))
    shown = tmp_path / "shown"
    run = made(shown / "run")
    (shown / "link").symlink_to(made(tmp_path / "elsewhere", name="hidden run"))
    (run / "report.html").symlink_to(secret)
    app = viewer(shown)
    page = ask(app, "/").text
    assert "hidden run" not in page and page.count('href="/runs/') == 1
    address = run_address(app)
    assert ask(app, f"{address}/report").status == 404

    digest = next(run.glob("images/??/*")).name
    path = run / "images" / digest[:2] / digest
    assert ask(app, f"{address}/images/{digest}").status == 200
    path.unlink()
    path.symlink_to(secret)
    app = viewer(shown)
    assert ask(app, f"{address}/images/{digest}").status == 404


def test_errors_show_no_path(tmp_path: Path) -> None:
    run = made(tmp_path / "a secret place" / "run")
    app = viewer(tmp_path)
    address = run_address(app)
    (run / "manifest.json").write_text("{}")
    for path in (address, f"{address}/problems", f"{address}/problems/1"):
        answer = ask(app, path)
        assert answer.status == 503
        assert "secret place" not in answer.text.replace("a secret place/run", "")
        assert str(tmp_path) not in answer.text


def test_other_protocols_are_closed(app: Guard) -> None:
    import asyncio

    sent: list[object] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    asyncio.run(app({"type": "websocket", "path": "/", "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
