"""Answers that ringway's translators wrote, behind a server of their own, and how each vendor's client reads them.

Owns: the server, and one reader per dialect. Must not: parse an answer itself, but to hand it to a client's types.
Read next: test_translated.py.
"""

import functools
import http.server
import json
import pathlib
import threading
import warnings

import anthropic
import httpx
import openai
import pydantic
from anthropic.types import Message, RawMessageStreamEvent
from google import genai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

ASK = [{"role": "user", "content": "?"}]


class Folder(http.server.BaseHTTPRequestHandler):
    """Answers any request under /N/ with the N-th answer of a folder."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    folder: pathlib.Path

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = (self.folder / self.path.split("/")[1]).read_bytes()
        kind = "application/json" if body[:1] in (b"{", b"[") else "text/event-stream; charset=utf-8"
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(folder: pathlib.Path) -> http.server.ThreadingHTTPServer:
    handler = type("Handler", (Folder,), {"folder": folder})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def call(name: str, arguments) -> list:
    """A call as name and value: spacing is a matter of taste."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            pass
    return [name, arguments]


def said(text="", refusal="", reasoning="", calls=(), stop=None, usage=None) -> dict:
    return {
        "text": text or "",
        "refusal": refusal or "",
        "reasoning": reasoning or "",
        "calls": list(calls),
        "stop": stop,
        "usage": usage,
    }


@functools.cache
def adapter(of) -> pydantic.TypeAdapter:
    return pydantic.TypeAdapter(of)


def valid(of, value) -> None:
    """The client's types take it, field by field; reading it, the client itself does not look."""
    adapter(of).validate_python(value.to_dict() if hasattr(value, "to_dict") else value)


def is_custom(piece) -> bool:
    """A call of a custom tool, for which the client's chunks have no type."""
    return getattr(piece, "custom", None) is not None


def custom_call(custom) -> list:
    return call(custom.name, custom.input)


class Custom:
    def __init__(self, custom: dict):
        self.name = custom.get("name")
        self.arguments = custom.get("input")


class Chat:
    def __init__(self, base: str):
        self.base = base
        self.client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)

    def at(self, number: str):
        return self.client.with_options(base_url=f"{self.base}/{number}").chat.completions

    def unary(self, number: str) -> dict:
        answer = self.at(number).create(model="m", messages=ASK)
        valid(ChatCompletion, answer)
        return self.of(answer.choices[0], answer.usage)

    @staticmethod
    def of(choice, usage) -> dict:
        message = choice.message
        calls = [
            call(c.function.name, c.function.arguments) if c.type == "function" else custom_call(c.custom)
            for c in message.tool_calls or []
        ]
        reasoning = getattr(message, "reasoning_content", None)
        tokens = usage and [usage.prompt_tokens, usage.completion_tokens]
        return said(message.content, message.refusal, reasoning, calls, choice.finish_reason, tokens)

    def stream(self, number: str) -> list[dict]:
        read = [self.raw(number)]
        # The helper has no final completion for a stream that ends at a limit or a filter: a decision of its own.
        # Nor does it know custom tools.
        skipped = read[0]["stop"] in ("length", "content_filter") or self.has_custom
        return read if skipped else [*read, self.helper(number)]

    def raw(self, number: str) -> dict:
        text = refusal = reasoning = ""
        calls, stop, usage = [], None, None
        self.has_custom = False
        for chunk in self.at(number).create(model="m", messages=ASK, stream=True):
            if any(is_custom(piece) for choice in chunk.choices for piece in choice.delta.tool_calls or []):
                self.has_custom = True
            else:
                valid(ChatCompletionChunk, chunk)
            if chunk.usage:
                usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens]
            for choice in chunk.choices:
                if choice.index:
                    continue
                delta = choice.delta
                text += delta.content or ""
                refusal += delta.refusal or ""
                reasoning += getattr(delta, "reasoning_content", None) or ""
                for piece in delta.tool_calls or []:
                    named = Custom(piece.custom) if is_custom(piece) else piece.function
                    if piece.index == len(calls):
                        assert piece.id and named.name
                        calls.append([named.name, ""])
                    calls[piece.index][1] += (named and named.arguments) or ""
                stop = choice.finish_reason or stop
        return said(text, refusal, reasoning, [call(*c) for c in calls], stop, usage)

    def helper(self, number: str) -> dict:
        with self.at(number).stream(model="m", messages=ASK) as stream:
            for _ in stream:
                pass
            answer = stream.get_final_completion()
        return self.of(answer.choices[0], answer.usage)


class Responses:
    def __init__(self, base: str):
        self.base = base
        self.client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)

    def at(self, number: str):
        return self.client.with_options(base_url=f"{self.base}/{number}").responses

    def unary(self, number: str) -> dict:
        answer = self.at(number).create(model="m", input="?")
        valid(Response, answer)
        return self.of(answer)

    @staticmethod
    def of(answer) -> dict:
        refusal = reasoning = ""
        calls = []
        for item in answer.output:
            if item.type == "message":
                refusal += "".join(part.refusal for part in item.content if part.type == "refusal")
            elif item.type == "reasoning":
                reasoning += "".join(part.text for part in [*item.summary, *(item.content or [])])
            elif item.type == "function_call":
                calls.append(call(item.name, item.arguments))
            elif item.type == "custom_tool_call":
                calls.append(call(item.name, item.input))
        usage = answer.usage and [answer.usage.input_tokens, answer.usage.output_tokens]
        stop = answer.status
        if answer.incomplete_details:
            stop = answer.incomplete_details.reason
        return said(answer.output_text, refusal, reasoning, calls, stop, usage)

    def stream(self, number: str) -> list[dict]:
        read = [self.raw(number)]
        # The helper has no final response for a stream that ends incomplete: a limitation of its own.
        return read + [self.helper(number)] if read[0]["stop"] == "completed" else read

    def raw(self, number: str) -> dict:
        final, texts, next_number = None, {}, 0
        for event in self.at(number).create(model="m", input="?", stream=True):
            valid(ResponseStreamEvent, event)
            assert event.sequence_number == next_number
            next_number += 1
            if event.type == "response.output_text.delta":
                texts[event.output_index] = texts.get(event.output_index, "") + event.delta
            if event.type in ("response.completed", "response.incomplete", "response.failed"):
                valid(Response, event.response)
                final = event.response
        assert final is not None, "no terminal event"
        assert "".join(texts[index] for index in sorted(texts)) == final.output_text
        return self.of(final)

    def helper(self, number: str) -> dict:
        with self.at(number).stream(model="m", input="?") as stream:
            for _ in stream:
                pass
            return self.of(stream.get_final_response())


class Anthropic:
    def __init__(self, base: str):
        self.base = base
        self.client = anthropic.Anthropic(base_url=base, api_key="none", max_retries=0)

    def at(self, number: str):
        return self.client.with_options(base_url=f"{self.base}/{number}").messages

    def unary(self, number: str) -> dict:
        answer = self.at(number).create(model="m", max_tokens=1, messages=ASK)
        valid(Message, answer)
        return self.of(answer)

    @staticmethod
    def of(answer) -> dict:
        text = "".join(block.text for block in answer.content if block.type == "text")
        reasoning = "".join(block.thinking for block in answer.content if block.type == "thinking")
        calls = [call(block.name, block.input) for block in answer.content if block.type == "tool_use"]
        usage = answer.usage
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        tokens = [usage.input_tokens + read + written, usage.output_tokens]
        return said(text, "", reasoning, calls, answer.stop_reason, tokens)

    def stream(self, number: str) -> list[dict]:
        with self.at(number).create(model="m", max_tokens=1, messages=ASK, stream=True) as events:
            for event in events:
                valid(RawMessageStreamEvent, event)
        with self.at(number).stream(model="m", max_tokens=1, messages=ASK) as stream:
            for _ in stream:
                pass
            return [self.of(stream.get_final_message())]


class Gemini:
    def __init__(self, base: str):
        self.base = base
        self.client = genai.Client(api_key="none")

    def ask(self, number: str) -> dict:
        options = genai.types.HttpOptions(base_url=f"{self.base}/{number}")
        return {"model": "m", "contents": "?", "config": genai.types.GenerateContentConfig(http_options=options)}

    def unary(self, number: str) -> dict:
        return self.of([self.client.models.generate_content(**self.ask(number))])

    def stream(self, number: str) -> list[dict]:
        return [self.of(list(self.client.models.generate_content_stream(**self.ask(number))))]

    def array(self, number: str) -> dict:
        chunks = httpx.post(f"{self.base}/{number}/").raise_for_status().json()
        return self.of([genai.types.GenerateContentResponse.model_validate(chunk) for chunk in chunks])

    @staticmethod
    def of(chunks) -> dict:
        text = reasoning = ""
        calls, stop, usage = [], None, None
        for chunk in chunks:
            if counts := chunk.usage_metadata:
                prompt = (counts.prompt_token_count or 0) + (counts.tool_use_prompt_token_count or 0)
                usage = [prompt, (counts.candidates_token_count or 0) + (counts.thoughts_token_count or 0)]
            for candidate in chunk.candidates or []:
                if candidate.index:
                    continue
                for part in candidate.content.parts or []:
                    if part.function_call:
                        calls.append(call(part.function_call.name, part.function_call.args or {}))
                    elif part.thought:
                        reasoning += part.text or ""
                    else:
                        text += part.text or ""
                stop = candidate.finish_reason.value if candidate.finish_reason else stop
            if chunk.prompt_feedback and chunk.prompt_feedback.block_reason:
                stop = "SAFETY"
        return said(text, "", reasoning, calls, stop, usage)


READERS = {"openai-chat": Chat, "openai-responses": Responses, "anthropic-messages": Anthropic, "gemini": Gemini}

warnings.filterwarnings("ignore", message=".*non-text parts.*")
