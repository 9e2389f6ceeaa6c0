"""Streams that are silent for long, kept open by heartbeats: what the official clients see of it.

Owns: a slow server of each dialect. Must not: look at bytes; tests/heartbeat.rs does.
Read next: conftest.py.
"""

import http.server
import json
import threading
import time

import anthropic
import openai
import pytest
from google import genai

import conftest

ASK = [{"role": "user", "content": "?"}]
# Several heartbeats long; a busy machine makes it longer.
SILENCE_S = 0.4
BEAT_MS = 100


def named(*events: dict) -> list[bytes]:
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def unnamed(*events: dict) -> list[bytes]:
    return [f"data: {json.dumps(event)}\n\n".encode() for event in events]


def chat() -> list[bytes]:
    def chunk(delta, reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    chunks = unnamed(chunk({"role": "assistant", "content": "slow "}), chunk({"content": "answer"}), chunk({}, "stop"))
    return chunks + [b"data: [DONE]\n\n"]


def responses() -> list[bytes]:
    body = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": [], "output": []}
    part = {"type": "output_text", "text": "slow answer", "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    events = [
        {"type": "response.created", "response": {**body, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0,
         "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "slow "},
        {"type": "response.output_text.delta", **place, "delta": "answer"},
        {"type": "response.output_text.done", **place, "text": "slow answer"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**body, "status": "completed", "output": [item]}},
    ]
    return named(*({**event, "sequence_number": number} for number, event in enumerate(events)))


def messages() -> list[bytes]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 1}}

    def delta(text):
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}

    return named(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        delta("slow "),
        delta("answer"),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
         "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )


def gemini() -> list[bytes]:
    def event(text, **more):
        return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}]}

    return unnamed(event("slow "), event("answer", finishReason="STOP"))


EVENTS = {"chat/completions": chat, "responses": responses, "messages": messages, "Generate": gemini}


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers in the dialect of the path, silent before its head and in the middle; `refuse` as model is refused."""

    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def do_POST(self):
        asked = self.rfile.read(int(self.headers.get("content-length", 0)))
        time.sleep(SILENCE_S)
        if b"refuse" in asked or "refuse" in self.path:
            return self.refuse()
        (events,) = (events for name, events in EVENTS.items() if name in self.path)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        parts = events()
        for number, event in enumerate(parts):
            if number in (0, len(parts) // 2):
                time.sleep(SILENCE_S)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def refuse(self):
        body = json.dumps({"error": {"message": "out of memory", "type": "server_error", "code": 500}}).encode()
        self.send_response(500)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A gateway whose backends all stand for the same slow server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (listen,) = conftest.free_ports(1)
    folder = tmp_path_factory.mktemp("slow")
    document = conftest.snapshot(listen, [server.server_port], folder / "access.log")
    engines = [("chat", "vllm", "openai-chat"), ("responses", "openai", "openai-responses"),
               ("messages", "anthropic", "anthropic-messages"), ("gemini", "gemini", "gemini")]
    document["backends"] = [conftest.backend(*engine, [server.server_port]) for engine in engines]
    callers = [("chat", {"path": "/v1/chat/completions"}), ("responses", {"path": "/v1/responses"}),
               ("messages", {"path": "/v1/messages"}), ("gemini", {"path_prefix": "/"})]
    document["routes"] = [
        conftest.route(f"{caller}-{to}", {**match, "headers": [{"name": "x-to", "value": to}]}, to)
        for caller, match in callers for to, *_ in engines
    ]
    for route in document["routes"]:
        route["heartbeat"] = {"every_ms": BEAT_MS, "commit_after_ms": BEAT_MS}
    with conftest.running(folder, document) as gateway:
        yield gateway
    server.shutdown()


def metric(gateway, name: str) -> float:
    page = gateway._control.get("/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))


@pytest.fixture(autouse=True)
def kept_open(slow):
    before = metric(slow, "ringway_heartbeats_total")
    yield
    assert metric(slow, "ringway_heartbeats_total") >= before + 3, "there was silence, and somebody spoke into it"


BACKENDS = ["chat", "responses", "messages", "gemini"]


def openai_of(gateway, backend):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="none", max_retries=0,
                         default_headers={"x-to": backend})


@pytest.mark.parametrize("backend", BACKENDS)
def test_chat_sees_no_extra_chunk(slow, backend):
    stream = openai_of(slow, backend).chat.completions.create(model="m", messages=ASK, stream=True)
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == "slow answer"
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)


@pytest.mark.parametrize("backend", BACKENDS)
def test_responses_sees_no_extra_event(slow, backend):
    events = list(openai_of(slow, backend).responses.create(model="m", input="?", stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "slow answer"
    assert events[-1].response.output_text == "slow answer"


@pytest.mark.parametrize("backend", BACKENDS)
def test_messages_sees_its_message_whole(slow, backend):
    client = anthropic.Anthropic(base_url=slow.url, api_key="none", max_retries=0, default_headers={"x-to": backend})
    with client.messages.stream(model="m", max_tokens=9, messages=ASK) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert final.content[0].text == "slow answer" and final.stop_reason == "end_turn"


@pytest.mark.parametrize("backend", BACKENDS)
def test_gemini_parses_every_chunk(slow, backend):
    options = genai.types.HttpOptions(base_url=slow.url, headers={"x-to": backend})
    client = genai.Client(api_key="none", http_options=options)
    chunks = list(client.models.generate_content_stream(model="m", contents="?"))
    assert "".join(chunk.text or "" for chunk in chunks) == "slow answer"
    assert all(chunk.candidates for chunk in chunks)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_behind_an_early_head_is_raised(slow, backend):
    with pytest.raises(openai.APIError, match="out of memory|upstream"):
        list(openai_of(slow, backend).chat.completions.create(model="refuse", messages=ASK, stream=True))
    client = anthropic.Anthropic(base_url=slow.url, api_key="none", max_retries=0, default_headers={"x-to": backend})
    with pytest.raises(anthropic.APIError):
        with client.messages.stream(model="refuse", max_tokens=9, messages=ASK) as stream:
            stream.get_final_message()
    options = genai.types.HttpOptions(base_url=slow.url, headers={"x-to": backend})
    with pytest.raises(Exception):  # whichever of its own, or of its transport's
        list(genai.Client(api_key="none", http_options=options).models.generate_content_stream(
            model="refuse", contents="?"))
