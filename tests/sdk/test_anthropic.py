"""The official Anthropic client against a running ringway, towards a backend of the same dialect."""

import anthropic
import pytest

from conftest import MODEL

ASK = [{"role": "user", "content": "Say something."}]


@pytest.fixture(scope="module")
def client(gateway):
    return anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0)


def test_a_unary_message_is_read_whole(client):
    message = client.messages.create(model=MODEL, max_tokens=16, messages=ASK)
    assert message.role == "assistant"
    assert message.content[0].text
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.usage.output_tokens > 0


def test_a_streamed_message_says_the_same_as_a_unary_one(client):
    unary = client.messages.create(model=MODEL, max_tokens=24, messages=ASK)
    with client.messages.stream(model=MODEL, max_tokens=24, messages=ASK) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == unary.content[0].text
    assert final.stop_reason == unary.stop_reason
    assert final.usage.output_tokens == unary.usage.output_tokens


def test_an_unknown_model_is_not_found_in_the_callers_own_words(client):
    with pytest.raises(anthropic.NotFoundError) as refusal:
        client.messages.create(model="nobody-serves-this", max_tokens=16, messages=ASK)
    assert refusal.value.body["type"] == "error"
    assert refusal.value.body["error"]["type"] == "not_found_error"
    assert "nobody-serves-this" in refusal.value.body["error"]["message"]


def test_leaving_a_stream_releases_the_upstream(client, gateway):
    with client.messages.stream(model=MODEL, max_tokens=4000, messages=ASK) as stream:
        for _ in stream.text_stream:
            break
        assert gateway.busy() > 0
    gateway.wait_idle(1.0)


def test_a_client_timeout_releases_the_upstream(gateway):
    hasty = anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0, timeout=0.4)
    with pytest.raises(anthropic.APITimeoutError):
        hasty.messages.create(model=MODEL, max_tokens=4000, messages=ASK)
    hasty.close()
    gateway.wait_idle(1.0)
