"""A real inference server that speaks several dialects itself: what it says directly, it says through ringway too.

Owns: that the same seeded request gives the same text through each dialect, as it is and translated, streamed and not.
Must not: judge the text; it is nonsense.
Read next: llamacpp.py.
"""

import pathlib
import subprocess
import sys

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from conftest import backend, free_ports, listens, route, running, wait_for

ASK = "Say something about rings."
LENGTH = 24
NATIVE = ["openai-chat", "openai-responses", "anthropic-messages"]


@pytest.fixture(scope="module")
def llamacpp(tmp_path_factory):
    """Its port."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's server is not installed for this machine")
    folder = tmp_path_factory.mktemp("llamacpp")
    (port,) = free_ports(1)
    program = pathlib.Path(__file__).parent / "llamacpp.py"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, str(program), str(folder), str(port)], stdout=log, stderr=log)
    try:
        wait_for("llama.cpp", lambda: listens(port) or server.poll() is not None)
        assert server.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        server.terminate()
        server.wait(timeout=15)


@pytest.fixture(scope="module")
def through(llamacpp, tmp_path_factory):
    """A gateway whose routes lead to the server by each of its dialects: `dialect@` in front of the model says which."""
    folder = tmp_path_factory.mktemp("through")
    (listen,) = free_ports(1)
    routes = []
    for name in NATIVE:
        to = route(name, {"path_prefix": "/", "models": [f"{name}@*"]}, name)
        to["targets"][0]["model"] = "*"
        routes.append(to)
    config = {
        "format": 1,
        "generation": 1,
        "listeners": [{"address": f"127.0.0.1:{listen}"}],
        "backends": [backend(name, "llamacpp", name, [llamacpp]) for name in NATIVE],
        "routes": routes,
        "logging": {"access": {"path": str(folder / "access.log")}, "format": "json"},
    }
    with running(folder, config) as gateway:
        yield gateway.url


def chat(url: str, model: str, stream: bool) -> tuple[str, str]:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    ask = {"model": model, "messages": [{"role": "user", "content": ASK}], "max_tokens": LENGTH, "temperature": 0}
    if not stream:
        choice = client.chat.completions.create(**ask).choices[0]
        return choice.message.content, choice.finish_reason
    choices = [chunk.choices[0] for chunk in client.chat.completions.create(**ask, stream=True) if chunk.choices]
    return "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason


def responses(url: str, model: str, stream: bool) -> tuple[str, str]:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    ask = {"model": model, "input": ASK, "max_output_tokens": LENGTH, "temperature": 0, "store": False}
    if not stream:
        return client.responses.create(**ask).output_text, "length"
    events = list(client.responses.create(**ask, stream=True))
    return "".join(event.delta for event in events if event.type == "response.output_text.delta"), "length"


def messages(url: str, model: str, stream: bool) -> tuple[str, str]:
    client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
    ask = {"model": model, "messages": [{"role": "user", "content": ASK}], "max_tokens": LENGTH}
    ask["extra_body"] = {"temperature": 0}  # the client's own parameter left with the API's newest version
    if not stream:
        message = client.messages.create(**ask)
    else:
        with client.messages.stream(**ask) as events:
            message = events.get_final_message()
    return message.content[0].text, {"max_tokens": "length"}.get(message.stop_reason, message.stop_reason)


def gemini(url: str, model: str, stream: bool) -> tuple[str, str]:
    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url, api_version="v1beta"))
    config = types.GenerateContentConfig(max_output_tokens=LENGTH, temperature=0)
    ask = {"model": model, "contents": ASK, "config": config}
    answers = list(client.models.generate_content_stream(**ask)) if stream else [client.models.generate_content(**ask)]
    reason = answers[-1].candidates[0].finish_reason
    text = "".join(answer.text or "" for answer in answers)
    return text, {types.FinishReason.MAX_TOKENS: "length"}.get(reason, str(reason))


CALLERS = {"openai-chat": chat, "openai-responses": responses, "anthropic-messages": messages, "gemini": gemini}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("caller", NATIVE)
def test_its_own_dialects_say_the_same(llamacpp, caller, stream):
    direct = f"http://127.0.0.1:{llamacpp}"
    assert CALLERS[caller](direct, "tiny", stream) == chat(direct, "tiny", False)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", NATIVE)
@pytest.mark.parametrize("caller", list(CALLERS))
def test_what_it_says_directly_it_says_through_ringway(llamacpp, through, caller, upstream, stream):
    direct = chat(f"http://127.0.0.1:{llamacpp}", "tiny", False)
    assert direct[0].strip() and direct[1] == "length"
    text, reason = CALLERS[caller](through, f"{upstream}@tiny", stream)
    assert text == direct[0]
    # Its responses are `completed` even where they were cut short, so nobody behind them can know better.
    assert reason == direct[1] or upstream == "openai-responses"


def test_it_counts_the_same_through_ringway(llamacpp, through):
    def count(url: str, model: str) -> int:
        client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)
        return client.messages.count_tokens(model=model, messages=[{"role": "user", "content": ASK}]).input_tokens

    counted = count(f"http://127.0.0.1:{llamacpp}", "tiny")
    assert counted == count(through, "anthropic-messages@tiny") == count(through, "openai-responses@tiny") > 0
