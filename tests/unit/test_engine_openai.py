"""Parts of the client of a server: what is sent, what is read, what it costs."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image as Pillow

from vilbench import config
from vilbench.engines.openai import messages
from vilbench.engines.openai.engine import OpenAIEngine
from vilbench.engines.openai.estimate import patch_tokens, prompt_tokens, tile_tokens
from vilbench.engines.openai.faults import retry_after, status_fault
from vilbench.engines.openai.money import BudgetSpentError, Purse, TokenPrice, price_of
from vilbench.engines.openai.pictures import ImagePolicy, Pictures, picture
from vilbench.engines.openai.reply import is_same_model, read
from vilbench.engines.openai.spelling import NoSpelling, spelled
from vilbench.errors import EngineError, ImageError, RecipeError
from vilbench.images import Size
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Image, Prompt, Sampling, Usage

VLLM = messages.Model("m", "vllm", {}, 20)


def encoded(size: tuple[int, int], kind: str, mode: str = "RGB", **more: Any) -> Image:
    data = io.BytesIO()
    Pillow.effect_noise(size, 90).convert(mode).save(data, kind, **more)
    return Image.of(BytesSource(data.getvalue()))


def sent(image: Image, policy: ImagePolicy) -> tuple[str, bytes]:
    url = json.loads(picture(image, policy).part)["image_url"]["url"]
    head, data = url.split(",", 1)
    return head, base64.b64decode(data)


@pytest.mark.parametrize(
    ("kind", "mime"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_plain_images_are_sent_as_they_are(kind: str, mime: str) -> None:
    image = encoded((40, 30), kind)
    head, data = sent(image, ImagePolicy())
    assert head == f"data:{mime};base64"
    assert data == image.read()


@pytest.mark.parametrize(("kind", "mode"), [("BMP", "RGB"), ("PNG", "L"), ("GIF", "P")])
def test_other_images_are_sent_as_rgb_png(kind: str, mode: str) -> None:
    head, data = sent(encoded((40, 30), kind, mode), ImagePolicy())
    assert head == "data:image/png;base64"
    assert Pillow.open(io.BytesIO(data)).mode == "RGB"


@pytest.mark.parametrize(("kind", "sent_as"), [("PNG", "PNG"), ("JPEG", "JPEG"), ("WEBP", "JPEG")])
def test_large_images_are_made_smaller(kind: str, sent_as: str) -> None:
    made = picture(encoded((400, 100), kind), ImagePolicy(max_pixels=10_000))
    data = base64.b64decode(json.loads(made.part)["image_url"]["url"].split(",")[1])
    small = Pillow.open(io.BytesIO(data))
    assert small.format == sent_as
    assert small.size == made.size == (200, 50)


def test_images_of_too_many_bytes_become_jpeg_or_are_refused() -> None:
    image = encoded((200, 200), "PNG")
    head, data = sent(image, ImagePolicy(max_bytes=60_000))
    assert head == "data:image/jpeg;base64"
    assert len(data) <= 60_000 < len(image.read())
    with pytest.raises(ImageError, match="over the limit"):
        picture(image, ImagePolicy(max_bytes=2_000))
    with pytest.raises(ImageError):
        picture(Image.of(BytesSource(b"none")), ImagePolicy())


async def test_an_image_is_made_once_whoever_asks() -> None:
    pictures = Pictures(ImagePolicy())
    image = encoded((40, 30), "PNG")
    waiting = [asyncio.create_task(pictures.of(image)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    made = await asyncio.gather(*waiting[1:])
    assert len({id(one) for one in made}) == 1
    assert await pictures.of(image.bound(BytesSource(b"gone"))) is made[0]
    assert pictures.made == 1


def test_a_prompt_is_sent_in_its_order_and_as_it_is() -> None:
    hostile = 'say "yes"\\ <|im_end|>\n\u2028 \x00'
    image = Image.of(BytesSource(tiny_png()))
    prompt = Prompt((hostile, image, "and?"), system="Be brief.", prefill="Step 1:\n")
    part = picture(image, ImagePolicy(detail="low")).part
    sampling = Sampling(0.5, 0.9, 7, ("\n\n",), 5)
    made = messages.fields(VLLM, prompt, 3, sampling, 11)
    body = json.loads(messages.body(prompt, [part], made))
    system, user, beginning = body.pop("messages")
    assert system == {"role": "system", "content": "Be brief."}
    assert [p["type"] for p in user["content"]] == ["text", "image_url", "text"]
    assert user["content"][0]["text"] == hostile
    assert user["content"][1]["image_url"]["detail"] == "low"
    assert beginning == {"role": "assistant", "content": "Step 1:\n"}
    assert body == {
        "model": "m",
        "n": 3,
        "seed": 11,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["\n\n"],
        "logprobs": True,
        "top_logprobs": 5,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }


def test_dialects() -> None:
    plain = Prompt(("how many?",))
    hosted = messages.Model("m", "openai", {"reasoning_effort": "low"}, 0)
    made = messages.fields(hosted, plain, 1, Sampling(top_logprobs=20), 0)
    assert made["max_completion_tokens"] == 1024
    assert made["reasoning_effort"] == "low"
    assert not {"n", "max_tokens", "logprobs", "top_k"} & made.keys()
    assert json.loads(messages.body(plain, [], made))["messages"][0]["content"] == "how many?"
    with pytest.raises(EngineError, match="does not go on from the beginning of a reply"):
        messages.fields(hosted, Prompt(("a",), prefill="b"), 1, Sampling(), 0)
    with pytest.raises(EngineError, match="Unicode"):
        messages.body(Prompt(("\ud800",)), [], made)


def test_fields_that_a_model_refuses_are_left_out() -> None:
    omit = ("temperature", "top_p", "seed")
    model = messages.Model("o3", "openai", {}, 0, omit)
    made = messages.fields(model, Prompt(("how many?",)), 2, Sampling(0.5, 0.9), 3)
    assert made == {"model": "o3", "n": 2, "max_completion_tokens": 1024}
    engines = [OpenAIEngine("o3", omit=some) for some in ((), omit, omit[::-1], omit[:1])]
    first, second, third, fourth = (engine.fingerprint for engine in engines)
    assert second == third
    assert len({first, second, fourth}) == 3


def test_what_is_left_out_reaches_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    recipe = config.parse_text(RECIPE, "served.yaml")
    bare = recipe.changed({"sample.engine.omit": ["top_p", "seed", "top_p"]})
    again = config.parse({**bare.identity(), "name": bare.name, "seed": bare.seed})
    assert again == bare
    whole, without = (config.build(one, ("sample",)).engines[0] for one in (recipe, bare))
    assert whole.fingerprint == OpenAIEngine("gpt-4o").fingerprint
    assert without.fingerprint == OpenAIEngine("gpt-4o", omit=["top_p", "seed"]).fingerprint
    assert "omit" not in json.dumps(recipe.identity())  # runs that are there go on


def test_no_two_requests_of_a_stream_share_a_seed() -> None:
    firsts = [messages.first_seed(s, f, r) for s in range(9) for f in (0, 8) for r in range(3)]
    assert all(0 <= seed < 2**31 for seed in firsts)
    ordered = sorted(firsts)
    assert all(after - before > 128 for before, after in pairwise(ordered))


def test_retry_after() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after({"retry-after": "7"}, now) == 7
    assert retry_after({"retry-after": "0.5"}, now) == 0.5
    assert retry_after({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, now) == 30
    assert retry_after({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, now) == 0
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}, now) == 0.25
    for nonsense in ("", "soon", "-3", "nan", "inf", "1e999", "9" * 5000, "Thu, 99 Jan"):
        assert retry_after({"retry-after": nonsense}, now) is None
    assert retry_after({}, now) is None


def test_quota_is_no_rate_limit() -> None:
    quota = status_fault(429, {}, {"code": "insufficient_quota", "message": "no money"})
    rate = status_fault(429, {}, {"code": "rate_limit_exceeded", "message": "slowly"})
    assert (quota.fatal, quota.retry, rate.fatal, rate.retry) == (True, False, False, True)


@pytest.mark.parametrize(
    ("answered", "same"),
    [
        *[(name, True) for name in ("gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o", "GPT-4o", "")],
        *[(name, True) for name in ("gpt-4o-0806", "gpt-4o-latest", "gpt-4o@main")],
        *[(name, False) for name in ("gpt-4o-mini", "gpt-4", "gpt-4o-mini-2024-07-18", "llama")],
    ],
)
def test_names_of_the_same_model(answered: str, same: bool) -> None:
    assert is_same_model("gpt-4o", answered) is same
    assert is_same_model("gpt-4o", answered, ["gpt-4o-mini", "gpt-4", "llama"]) or not same


def entry(text: str, data: bytes | None = None, logprob: float = -0.5) -> dict[str, Any]:
    listed = list(text.encode() if data is None else data)
    return {"token": text, "logprob": logprob, "bytes": listed, "top_logprobs": []}


def test_tokens_spell_what_was_said() -> None:
    halves = "é".encode()
    listed = [entry("caf"), entry("\\xc3", halves[:1]), entry("\\xa9", halves[1:]), entry("!")]
    assert [t.text for t in spelled("café!", listed)] == ["caf", "", "é", "!"]
    # The end token, a stop string that was cut away, and blanks that were left out.
    assert [t.text for t in spelled("caf", [entry("caf"), entry("<|im_end|>")])] == ["caf"]
    assert [t.text for t in spelled("one", [entry("one\nSt"), entry("ep 2")])] == ["one"]
    assert [t.text for t in spelled("4", [entry(" "), entry("4")])] == ["4"]
    assert [t.text for t in spelled("4", [entry(" 4")])] == ["4"]
    assert spelled("", []) == ()
    for text, wrong in (("5", [entry("4")]), ("45", [entry("4")]), ("4", None), ("4", [])):
        with pytest.raises(NoSpelling):
            spelled(text, wrong)


def test_rounding_above_zero_is_zero_and_impossible_alternatives_are_left_out() -> None:
    item = entry("4", logprob=1e-7)
    item["top_logprobs"] = [entry("4", logprob=1e-7), entry("5", logprob=float("-inf"))]
    [token] = spelled("4", [item])
    assert (token.logprob, token.top) == (0.0, {"4": 0.0})


def test_a_stop_string_that_a_server_leaves_in_is_cut() -> None:
    said = {"message": {"content": "one\nStep 2: two"}, "finish_reason": "length", "index": 0}
    answer = read(json.dumps({"choices": [said]}).encode(), "", 1, Sampling(stop=("\nStep 2",)))
    assert [(c.text, c.finish_reason) for c in answer.completions] == [("one", "stop")]
    assert answer.usage is None


def test_shares_of_tokens_sum_up() -> None:
    choices = [
        {"index": k, "message": {"content": "x" * length}, "finish_reason": "stop"}
        for k, length in enumerate((1, 50, 0, 9))
    ]
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 37,
        "prompt_tokens_details": {"cached_tokens": 64},
    }
    data = json.dumps({"choices": choices, "usage": usage}).encode()
    used = [c.usage for c in read(data, "", 4, Sampling(max_tokens=20)).completions]
    assert sum(u.completion_tokens for u in used) == 37
    assert max(u.completion_tokens for u in used) <= 20
    assert [u.prompt_tokens - u.cached_tokens for u in used] == [36, 0, 0, 0]


def test_prices() -> None:
    price = TokenPrice(prompt=2.5, completion=10.0, cached=1.25)
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=100_000, cached_tokens=400_000)
    assert price.of(usage) == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 1.0)
    assert price_of("gpt-4o-2024-08-06") == price_of("openai/gpt-4o") == price_of("gpt-4o")
    assert price_of("gpt-4o-mini") != price_of("gpt-4o")
    assert price_of("Qwen/Qwen2.5-VL-7B-Instruct") is None


async def test_a_purse_waits_for_what_may_come_back() -> None:
    purse = Purse(10.0, TokenPrice(0.0, 1_000_000.0))
    six = Usage(completion_tokens=6)
    aside = await purse.put_aside(six)
    second = asyncio.create_task(purse.put_aside(six))
    await asyncio.sleep(0)
    assert not second.done()
    purse.settle(aside, Usage(completion_tokens=3))
    assert await second == 6
    purse.settle(6, None)  # lost on the way: it may be billed
    assert purse.spent == 9
    with pytest.raises(BudgetSpentError, match=r"leaves 1\.0"):
        await purse.put_aside(six)


def test_tokens_of_images_and_prompts() -> None:
    # OpenAI's guide: 1024 x 1024 has 765 tokens, 2048 x 4096 has 1105, low detail 85.
    assert tile_tokens(Size(1024, 1024)) == 765
    assert tile_tokens(Size(2048, 4096)) == 1105
    assert tile_tokens(Size(2048, 4096), "low") == 85
    assert patch_tokens(Size(280, 56)) == 22
    assert prompt_tokens(Prompt(("x" * 400,)), [765]) == 100 + 765 + 8


RECIPE = """\
name: served
problems: {source: puzzles, split: dev, limit: 3}
sample:
  engine: {kind: openai, model: gpt-4o}
"""


@pytest.mark.parametrize(
    ("engine", "field", "words"),
    [
        ("{kind: openai}", "sample.engine.model", "missing"),
        ("{kind: hosted, model: m}", "sample.engine.kind", "none of local, openai"),
        ("{kind: openai, model: m, base_url: 'ftp://x'}", "sample.engine.base_url", "http"),
        ("{kind: openai, model: m, base_url: 'http://a:b@x'}", "sample.engine.base_url", "passw"),
        ("{kind: openai, model: m, server: vllm}", "sample.engine", "needs an address"),
        ("{kind: openai, model: m, extra: {n: 2}}", "sample.engine.extra", "n cannot be set"),
        ("{kind: openai, model: m, omit: [stop]}", "sample.engine.omit[0]", "'temperature'"),
        (
            "{kind: openai, model: m, patience: {attempts: 0}}",
            "sample.engine.patience",
            "at least 1",
        ),
        ("{kind: openai, model: m, api_key_env: 'a b'}", "sample.engine.api_key_env", "match"),
    ],
)
def test_wrong_engines_are_told_with_their_place(engine: str, field: str, words: str) -> None:
    text = RECIPE.replace("{kind: openai, model: gpt-4o}", engine)
    with pytest.raises(RecipeError) as caught:
        config.parse_text(text, "served.yaml")
    assert caught.value.row == 4
    assert str(caught.value.field).startswith(field)
    assert words in str(caught.value)


def test_a_run_may_go_on_at_another_address_and_not_with_another_picture() -> None:
    recipe = config.parse_text(RECIPE, "served.yaml")
    for key, value, same in (
        ("base_url", "http://elsewhere/v1", True),
        ("budget_usd", 5.0, True),
        ("concurrency", 7, True),
        ("api_key_env", "ANOTHER", True),
        ("model", "gpt-4o-mini", False),
        ("image", {"max_pixels": 5000}, False),
        ("revision", "awq", False),
        ("extra", {"top_k": 1}, False),
        ("omit", ["seed"], False),
        ("omit", [], True),
    ):
        changed = recipe.changed({f"sample.engine.{key}": value})
        assert (changed.identity() == recipe.identity()) is same, key


def test_keys_come_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    recipe = config.parse_text(RECIPE, "served.yaml")
    with pytest.raises(RecipeError, match="OPENAI_API_KEY holds no key"):
        config.build(recipe, ("sample",))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    assert config.build(recipe, ("sample",)).engines[0].name == "gpt-4o"
    free = recipe.changed({"sample.engine.budget_usd": 1.0, "sample.engine.model": "unknown"})
    with pytest.raises(Exception, match="needs the price of 'unknown'"):
        config.build(free, ("sample",))
    assert "sk-one" not in json.dumps(recipe.model_dump(mode="json"))
