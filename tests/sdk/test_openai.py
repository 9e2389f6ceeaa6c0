"""The official OpenAI client against a running ringway."""

import time

import openai
import pytest

from conftest import MODEL

ASK = [{"role": "user", "content": "Say something."}]


@pytest.fixture(scope="module")
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)


def test_a_unary_chat_answer_is_read_whole(client):
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=16)
    assert answer.model == MODEL
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id, "the client shows x-request-id to its caller"


def test_a_streamed_chat_answer_says_the_same_as_a_unary_one(client):
    unary = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=24)
    events = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=24, stream=True, stream_options={"include_usage": True}
    )
    text, usage, finish = "", None, None
    for event in events:
        usage = event.usage or usage
        for choice in event.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert text == unary.choices[0].message.content
    assert finish == unary.choices[0].finish_reason
    assert usage.completion_tokens == unary.usage.completion_tokens


def test_tokens_arrive_one_by_one_and_not_all_at_the_end(client):
    began, arrivals = time.monotonic(), []
    for event in client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=64, stream=True):
        if event.choices and event.choices[0].delta.content:
            arrivals.append(time.monotonic() - began)
    assert len(arrivals) >= 10
    assert arrivals[0] < arrivals[-1] / 2, f"first after {arrivals[0]:.3f} s, last after {arrivals[-1]:.3f} s"


def test_completions_answer_in_both_forms(client):
    unary = client.completions.create(model=MODEL, prompt="Once upon", max_tokens=12)
    assert unary.choices[0].text
    streamed = client.completions.create(model=MODEL, prompt="Once upon", max_tokens=12, stream=True)
    assert "".join(event.choices[0].text for event in streamed if event.choices) == unary.choices[0].text


def test_models_are_those_of_the_routes(client):
    assert MODEL in [model.id for model in client.models.list()]


def test_an_unknown_model_is_not_found_with_a_message_that_names_it(client):
    with pytest.raises(openai.NotFoundError) as refusal:
        client.chat.completions.create(model="nobody-serves-this", messages=ASK)
    assert "nobody-serves-this" in str(refusal.value)
    assert refusal.value.code == "model_not_found"
    assert refusal.value.request_id


def test_a_body_without_a_model_is_a_bad_request(client):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.post("/chat/completions", cast_to=object, body={"messages": ASK})
    assert "model" in str(refusal.value)


def test_an_unknown_path_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.post("/no/such/thing", cast_to=object, body={"model": MODEL})


def test_leaving_a_stream_releases_the_upstream(client, gateway):
    stream = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=4000, stream=True)
    for event in stream:
        if event.choices and event.choices[0].delta.content:
            break
    assert gateway.busy() > 0
    stream.close()
    gateway.wait_idle(1.0)


def test_a_client_timeout_releases_the_upstream(gateway):
    hasty = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=0.4)
    with pytest.raises(openai.APITimeoutError):
        hasty.chat.completions.create(model=MODEL, messages=ASK, max_tokens=4000)
    hasty.close()
    gateway.wait_idle(1.0)


def test_many_calls_at_once_each_get_their_own_answer(client):
    import concurrent.futures

    def ask(number: int) -> int:
        answer = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=1 + number)
        return answer.usage.completion_tokens

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        counts = list(pool.map(ask, range(32)))
    assert counts == [1 + number for number in range(32)]
