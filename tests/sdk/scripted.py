"""Model servers that do as they are told: they call the one tool they know, and then say what it said.

Owns: the script, in two dialects, streamed and not. Must not: understand anything.
Read next: test_tools.py, test_agents.py.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MARK = "ringway-tool-ran"
ECHO = f"echo {MARK}"
# What is called, with which arguments, where a caller offers it: a weather report, and the shells of agents.
CALLS = {
    "get_weather": {"city": "Rome"},
    "Bash": {"command": ECHO, "description": "Says a word"},
    "exec_command": {"cmd": ECHO},
    "shell": {"command": ["bash", "-lc", ECHO]},
    "run_shell_command": {"command": ECHO, "description": "Says a word"},
}


def text_of(content) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text") or text_of(part.get("content") or "") for part in content or [])


class Script:
    """What one request is answered with: text, or a call."""

    def __init__(self, names: list[str], results: list[str]):
        self.call = next((name for name in CALLS if name in names), None) if not results else None
        self.text = f"The tool said: {results[-1]}" if results else "I know no tool here."


def of_chat(ask: dict) -> Script:
    names = [tool["function"]["name"] for tool in ask.get("tools") or []]
    messages = ask["messages"]
    return Script(names, [text_of(it["content"]) for it in messages if it["role"] == "tool"])


def of_anthropic(ask: dict) -> Script:
    names = [tool["name"] for tool in ask.get("tools") or []]
    parts = [part for it in ask["messages"] if isinstance(it["content"], list) for part in it["content"]]
    return Script(names, [text_of(part.get("content")) for part in parts if part["type"] == "tool_result"])


def chat_answer(ask: dict, script: Script) -> dict:
    message = {"role": "assistant", "content": None if script.call else script.text}
    if script.call:
        function = {"name": script.call, "arguments": json.dumps(CALLS[script.call])}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if script.call else "stop"}
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": ask["model"],
            "choices": [choice], "usage": usage}


def chat_events(ask: dict, script: Script) -> list[str]:
    whole = chat_answer(ask, script)

    def chunk(delta: dict, reason: str | None = None) -> dict:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        return {"id": whole["id"], "object": "chat.completion.chunk", "created": 1, "model": ask["model"],
                "choices": choices}

    events = [chunk({"role": "assistant", "content": ""})]
    if script.call:
        arguments = json.dumps(CALLS[script.call])
        head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": script.call, "arguments": ""}}
        events.append(chunk({"tool_calls": [head]}))
        for piece in (arguments[:7], arguments[7:]):
            events.append(chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
    else:
        events += [chunk({"content": word + " "}) for word in script.text.split()]
    events.append(chunk({}, whole["choices"][0]["finish_reason"]))
    if (ask.get("stream_options") or {}).get("include_usage"):
        events.append({**chunk({}), "choices": [], "usage": whole["usage"]})
    return [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]


def anthropic_answer(ask: dict, script: Script) -> dict:
    block = {"type": "text", "text": script.text}
    if script.call:
        block = {"type": "tool_use", "id": "toolu_1", "name": script.call, "input": CALLS[script.call]}
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": ask["model"], "content": [block],
            "stop_reason": "tool_use" if script.call else "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 5}}


def anthropic_events(ask: dict, script: Script) -> list[str]:
    whole = anthropic_answer(ask, script)
    block = whole["content"][0]
    start = {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": 11, "output_tokens": 1}}
    events = [{"type": "message_start", "message": start}]
    if script.call:
        events.append({"type": "content_block_start", "index": 0, "content_block": {**block, "input": {}}})
        arguments = json.dumps(block["input"])
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in (arguments[:7], arguments[7:])]
    else:
        events.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        deltas = [{"type": "text_delta", "text": word + " "} for word in block["text"].split()]
    events += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    events.append({"type": "content_block_stop", "index": 0})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    events += [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


DIALECTS = {
    "/v1/chat/completions": (of_chat, chat_answer, chat_events),
    "/v1/messages": (of_anthropic, anthropic_answer, anthropic_events),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        ask = json.loads(self.rfile.read(int(self.headers["content-length"])))
        read, answer, events = DIALECTS[self.path.partition("?")[0]]
        script = read(ask)
        self.server.asked.append(ask)
        body = "".join(events(ask, script)) if ask.get("stream") else json.dumps(answer(ask, script))
        kind = "text/event-stream" if ask.get("stream") else "application/json"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def serve() -> ThreadingHTTPServer:
    """A running server; `asked` lists what it was sent."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
