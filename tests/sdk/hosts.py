"""A host of other companies' models, as far as their own clients can tell: Azure OpenAI, Vertex AI and Bedrock at one port.

Owns: what each was sent, and answers in the forms of each. Must not: import anything of ours.
Read next: test_hosted.py.
"""

import base64
import dataclasses
import json
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_sequence": None,
    "content": [{"type": "text", "text": "Sunny."}], "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 2},
}
MESSAGE_EVENTS = [
    {"type": "message_start", "message": MESSAGE | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Sunny."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
     "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
CHAT = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Sunny."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}
COMPLETION = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt",
              "choices": [{"index": 0, "text": "Sunny.", "finish_reason": "stop", "logprobs": None}]}
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt", "status": "completed", "tools": [],
    "parallel_tool_calls": True, "tool_choice": "auto",
    "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "Sunny.", "annotations": []}]}],
}
VECTORS = {"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
           "usage": {"prompt_tokens": 1, "total_tokens": 1}}
CANDIDATE = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Sunny."}]}, "finishReason": "STOP"}],
             "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9}}


@dataclasses.dataclass
class Request:
    path: str
    headers: dict
    raw: bytes

    @property
    def body(self) -> dict:
        return json.loads(self.raw)


def frame(kind: str, payload: bytes) -> bytes:
    """One message of an event stream of Amazon's."""
    headers = b""
    for name, value in {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}.items():
        headers += struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
    lengths = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = lengths + struct.pack("!I", zlib.crc32(lengths)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


def frames() -> bytes:
    carried = [base64.b64encode(json.dumps(event).encode()).decode() for event in MESSAGE_EVENTS]
    return b"".join(frame("chunk", json.dumps({"bytes": one, "p": "abcdefgh"}).encode()) for one in carried)


def events() -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in MESSAGE_EVENTS).encode()


def answer(path: str) -> tuple[str, bytes]:
    """The type and the body that this path is answered with."""
    path = path.partition("?")[0]
    endings = {
        "/invoke-with-response-stream": ("application/vnd.amazon.eventstream", frames()),
        ":streamRawPredict": ("text/event-stream", events()),
        ":streamGenerateContent": ("text/event-stream", f"data: {json.dumps(CANDIDATE)}\n\n".encode()),
        "/count-tokens:rawPredict": {"input_tokens": 7},
        ":rawPredict": MESSAGE,
        "/invoke": MESSAGE,
        ":generateContent": CANDIDATE,
        ":countTokens": {"totalTokens": 7},
        ":batchEmbedContents": {"embeddings": [{"values": [0.5]}, {"values": [-1.0]}]},
        "/chat/completions": CHAT,
        "/completions": COMPLETION,
        "/embeddings": VECTORS,
        "/responses": RESPONSE,
    }
    found = next(said for ending, said in endings.items() if path.endswith(ending))
    return found if isinstance(found, tuple) else ("application/json", json.dumps(found).encode())


class Host:
    """A server, and what came to it."""

    def __init__(self):
        requests: list[Request] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                requests.append(Request(self.path, headers, raw))
                kind, body = answer(self.path)
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.requests = requests
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def taken(self) -> Request:
        """The one request that came since the last look."""
        (one,) = self.requests
        self.requests.clear()
        return one

    def close(self):
        self._server.shutdown()
