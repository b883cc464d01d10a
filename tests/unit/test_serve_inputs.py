"""Images of every kind, limits before any work, secrets that stay in, and what needs no more."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from serve_data import IMAGE, TOKEN, Running, TextScorer, asked, running, value
from starlette.types import Message

from vilbench.engines.openai.attempts import Patience
from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.errors import EngineError
from vilbench.serve import reading
from vilbench.serve.limits import Limits
from vilbench.serve.upstream import Upstream
from vilbench.testing import ScriptedEngine
from vilbench.types import BytesSource, Image, Problem, Solution, StepScores

KEY = "sk-secret-upstream-key"


def picture(kind: str, mode: str = "RGB", **more: Any) -> bytes:
    """Noise of a format and a mode."""
    noise = np.random.default_rng(7).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(noise)
    if mode == "I;16":
        image = PIL.Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    found = io.BytesIO()
    image.save(found, kind, **more)
    return found.getvalue()


def turned() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return picture("JPEG", exif=exif)


def animated() -> bytes:
    frames = [PIL.Image.new("RGB", (24, 24), name) for name in ("red", "green", "blue")]
    found = io.BytesIO()
    frames[0].save(found, "GIF", save_all=True, append_images=frames[1:], duration=10)
    return found.getvalue()


KINDS: dict[str, Callable[[], bytes]] = {
    "CMYK": lambda: picture("JPEG", "CMYK"),
    "palette": lambda: picture("PNG", "P"),
    "16 bits": lambda: picture("PNG", "I;16"),
    "grey": lambda: picture("PNG", "L"),
    "transparent": lambda: picture("PNG", "RGBA"),
    "turned by EXIF": turned,
    "animated": animated,
    "WEBP": lambda: picture("WEBP"),
    "BMP": lambda: picture("BMP"),
    "TIFF": lambda: picture("TIFF"),
}


def url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def about(*images: str, **more: Any) -> dict[str, object]:
    return {**asked("Step 1: x", **more), "problem": {"question": "?", "images": list(images)}}


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind_are_scored_whatever_their_type_is_said_to_be(kind: str) -> None:
    data = KINDS[kind]()
    with running(TextScorer()) as server:
        for said in ("png", "jpeg", "x-unknown"):
            reply = server.post("/v1/score", about(url(data, said)))
            assert reply.status_code == 200, reply.text
            shown = reading.made_problem("?", (), [Image.of(BytesSource(data))])
            assert reply.json()["results"][0]["values"] == [value(shown, "Step 1: x")]


def test_images_of_the_same_pixels_in_another_shape_are_others() -> None:
    flat = np.arange(32 * 48 * 3, dtype=np.uint8)
    encoded = []
    for shape in ((32, 48, 3), (48, 32, 3)):
        found = io.BytesIO()
        PIL.Image.fromarray(flat.reshape(shape)).save(found, "PNG")
        encoded.append(found.getvalue())
    with running(TextScorer()) as server:
        wide, high = (server.post("/v1/score", about(url(one))).json() for one in encoded)
    assert wide["results"][0]["values"] != high["results"][0]["values"]


@pytest.mark.parametrize(
    "body",
    [
        about(IMAGE, IMAGE, IMAGE),
        about(url(b"x" * 60_000)),
        {**about(IMAGE), "solutions": [{"text": "x"}] * 4},
        {**about(IMAGE), "solutions": [{"text": "x" * 1001}]},
        {**about(IMAGE), "solutions": [{"steps": ["x"] * 6}]},
        {**about(IMAGE), "problem": {"question": "x" * 1001, "images": [IMAGE]}},
        {**about(IMAGE), "problem": {"question": "", "choices": ["x"] * 5, "images": [IMAGE]}},
        {**about(IMAGE), "aggregations": ["median"]},
        {**about(IMAGE), "model": "another"},
    ],
)
def test_limits_are_held_before_an_image_is_decoded_or_anything_scored(
    body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(reading, "decode", decode)
    limits = Limits(images=2, image_bytes=50_000, characters=1000, choices=4, solutions=3, steps=5)
    scorer = TextScorer()
    with running(scorer, limits=limits) as server:
        reply = server.post("/v1/score", body)
        assert reply.status_code in (400, 404, 413), reply.text
    assert scorer.calls == []


def test_pixels_are_counted_before_one_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    load = PIL.ImageFile.ImageFile.load

    def noted(self: PIL.ImageFile.ImageFile) -> object:
        loaded.append(self)
        return load(self)

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", noted)
    with running(TextScorer(), limits=Limits(pixels=32 * 24 - 1)) as server:
        reply = server.post("/v1/score", about(url(picture("PNG"))))
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_image")
        assert "pixels" in reply.text
        assert loaded == []
        small = io.BytesIO()
        PIL.Image.new("RGB", (8, 8)).save(small, "PNG")
        assert server.post("/v1/score", about(url(small.getvalue()))).status_code == 200
        assert loaded


def test_a_full_queue_refuses_before_an_image_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "decode", None)
    scorer = TextScorer()
    with running(scorer, limits=Limits(waiting=0)) as server:
        reply = server.post("/v1/score", about(IMAGE))
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "busy")


def test_no_secret_gets_out(capfd: pytest.CaptureFixture[str]) -> None:
    class Talking(TextScorer):
        async def score(self, problem: Problem, solutions: Sequence[Solution]) -> list[StepScores]:
            raise EngineError(f"{KEY} of /home/someone/.env was refused")

    def engine() -> OpenAIEngine:
        once = Patience(attempts=1)
        return OpenAIEngine("m", base_url="http://127.0.0.1:9/v1", api_key=KEY, patience=once)

    with running(Talking(), upstream=Upstream(engine), token=TOKEN) as server:
        user = {"role": "user", "content": "How many?"}
        said = [
            server.post("/v1/score", asked("Step 1: x")),
            server.post("/v1/score", asked("Step 1: x", stream=True)),
            server.post("/v1/chat/completions", {"model": "m", "messages": [user]}),
            *(server.get(path) for path in ("/metrics", "/openapi.json", "/v1/models", "/health")),
        ]
        with server.client() as client:
            client.headers["authorization"] = f"Bearer {TOKEN[:-1]}"
            said.append(client.get("/v1/models"))
    out, err = capfd.readouterr()
    for text in (out, err, *(one.text for one in said), *(str(one.headers) for one in said)):
        for secret in (TOKEN, KEY, "someone"):
            assert secret not in text


async def test_other_protocols_are_closed() -> None:
    with running(TextScorer()) as server:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/v1/score", "headers": [(b"host", b"localhost")]}
        await server.made.app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_an_upgrade_is_answered_as_any_request(server: Running) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket"}
    with server.client(**headers) as client:
        assert client.get("/health").json() == {"status": "ok"}


@pytest.fixture
def server() -> Any:
    engine = ScriptedEngine({"": ["Step 1: x"]}, name="solver")
    with running(TextScorer(), upstream=Upstream(lambda: engine)) as found:
        yield found


def test_the_extra_has_all_that_a_server_needs() -> None:
    lacking = ("openai", "httpx2", "httpcore2", "tenacity", "torch", "transformers", "requests")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({lacking!r}))
import vilbench.cli.serving, vilbench.serve.app, vilbench.serve.fetching, vilbench.serve.running
import vilbench.serve.renewal, vilbench.serve.upstream
from vilbench.serve.addresses import AllowList
from vilbench.serve.limits import Limits
vilbench.serve.fetching.Fetcher(AllowList(["example.org"]), Limits()).close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_steps_and_answers_are_text_whatever_they_hold(server: Running) -> None:
    hostile = "Step 1: <script>alert(1)</script>\u202e\x1b[31m=cmd|'/c calc'!A1 </script>"
    reply = server.post("/v1/score", asked(hostile))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    spans = json.loads(reply.text)["results"][0]["spans"]
    assert spans == [[0, len(hostile)]]
