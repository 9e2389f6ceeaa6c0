"""What a host of models is sent for a caller of their maker's, beside what the host's own client sends it.

Owns: the comparison: path, body, and proof. Must not: say itself what a host wants.
Read next: hosts.py, the host.
"""

import datetime
import urllib.parse
from unittest import mock

import anthropic
import google.auth.credentials
import openai
import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from google import genai

import hosts
from conftest import backend, free_ports, route, running

AWS = {"id": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session_token": "FwoGZXIvYXdzEBY=="}
CLAUDE = {"bedrock": "anthropic.claude-v2:0", "vertex": "claude-sonnet-4@20250514"}
PROMPT = [{"role": "user", "content": "Weather? Grüße, 世界"}]


class Token(google.auth.credentials.Credentials):
    """A token that needs nobody to renew it."""

    def __init__(self):
        super().__init__()
        self.token = "ours"

    def refresh(self, request):
        raise AssertionError("it holds")


def hosted(name: str, engine: str, dialect: str, port: int, hosting: dict, credential: tuple[str, str] | None) -> dict:
    shown = credential and {"header": credential[0], "value": credential[1]}
    return backend(name, engine, dialect, [port]) | {"hosting": hosting, "credential": shown}


def snapshot(listen: int, port: int) -> dict:
    vertex = {"vertex": {"project": "p", "location": "us-east5"}}
    dated = {"azure": {"api_version": "2024-10-21"}}
    bearer, key = ("authorization", "Bearer ours"), ("api-key", "ours")
    return {
        "format": 1,
        "generation": 1,
        "listeners": [{"address": f"127.0.0.1:{listen}"}],
        "backends": [
            hosted("bedrock", "anthropic", "anthropic-messages", port,
                   {"bedrock": {"region": "us-east-1", "key": AWS}}, None),
            hosted("vertex-claude", "anthropic", "anthropic-messages", port, vertex, bearer),
            hosted("vertex-gemini", "gemini", "gemini", port, vertex, bearer),
            hosted("azure", "openai", "openai-chat", port, dated, key),
            hosted("azure-responses", "openai", "openai-responses", port, dated, key),
        ],
        "routes": [
            route("bedrock", {"models": [CLAUDE["bedrock"]]}, "bedrock"),
            route("claude", {"models": ["claude-*"]}, "vertex-claude"),
            route("responses", {"path": "/v1/responses"}, "azure-responses"),
            route("azure", {"models": ["gpt-*"]}, "azure"),
            route("gemini", {"path_prefix": "/v1beta"}, "vertex-gemini"),
        ],
        "logging": {"access": "off"},
    }


@pytest.fixture(scope="module")
def host():
    host = hosts.Host()
    yield host
    host.close()


@pytest.fixture(scope="module")
def url(host, tmp_path_factory):
    (listen,) = free_ports(1)
    with running(tmp_path_factory.mktemp("hosted"), snapshot(listen, host.port)) as gateway:
        yield gateway.url


def same(ours: hosts.Request, theirs: hosts.Request) -> None:
    """The same path, however it is encoded, and the same body, in whatever order."""
    assert urllib.parse.unquote(ours.path) == urllib.parse.unquote(theirs.path)
    assert ours.body == theirs.body


def signature(request: hosts.Request, secret: str) -> str:
    """What botocore makes of a request as it came."""
    proof = request.headers["authorization"]
    names = proof.split("SignedHeaders=")[1].split(",")[0].split(";")
    signed = AWSRequest("POST", f"http://{request.headers['host']}{request.path}", data=request.raw)
    for name in names:
        if name not in ("x-amz-date", "x-amz-security-token"):
            signed.headers[name] = request.headers[name]
    moment = datetime.datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    credentials = Credentials(AWS["id"], secret, AWS["session_token"])
    with mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: moment):
        auth.SigV4Auth(credentials, "bedrock", "us-east-1").add_auth(signed)
    return signed.headers["Authorization"]


def claude(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="theirs", max_retries=0)


def bedrock(host: hosts.Host) -> anthropic.AnthropicBedrock:
    return anthropic.AnthropicBedrock(
        aws_access_key=AWS["id"], aws_secret_key=AWS["secret"], aws_session_token=AWS["session_token"],
        aws_region="us-east-1", base_url=host.url, max_retries=0,
    )


def vertex(host: hosts.Host) -> anthropic.AnthropicVertex:
    return anthropic.AnthropicVertex(
        region="us-east5", project_id="p", access_token="ours", base_url=f"{host.url}/v1", max_retries=0
    )


HOSTS = {"bedrock": bedrock, "vertex": vertex}


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("betas", [[], ["files-api-2025-04-14", "b-2"]])
@pytest.mark.parametrize("stream", [False, True])
def test_claude_is_asked_for_as_its_hosts_own_client_does(host, url, name, betas, stream):
    told = []
    for client in (claude(url), HOSTS[name](host)):
        ask = {"model": CLAUDE[name], "max_tokens": 9, "messages": PROMPT}
        if stream:
            got = list(client.beta.messages.create(betas=betas, stream=True, **ask))
            assert [event.type for event in got] == [event["type"] for event in hosts.MESSAGE_EVENTS]
        else:
            assert client.beta.messages.create(betas=betas, **ask).content[0].text == "Sunny."
        told.append(host.taken())
    ours, theirs = told
    same(ours, theirs)
    assert "theirs" not in str(ours.headers)
    if name == "bedrock":
        assert signature(ours, AWS["secret"]) == ours.headers["authorization"]
        assert signature(ours, "another") != ours.headers["authorization"]
        assert ours.headers["x-amz-security-token"] == AWS["session_token"]
    else:
        assert ours.headers["authorization"] == theirs.headers["authorization"]
        assert ours.headers.get("anthropic-beta") == theirs.headers.get("anthropic-beta")


def test_prompts_are_counted_as_vertexs_own_client_does(host, url):
    told = []
    for client in (claude(url), vertex(host)):
        assert client.messages.count_tokens(model=CLAUDE["vertex"], messages=PROMPT).input_tokens == 7
        told.append(host.taken())
    same(*told)


AZURE = {
    "chat": lambda client: client.chat.completions.create(model="gpt-5", messages=PROMPT).choices[0].message.content,
    "vectors": lambda client: client.embeddings.create(
        model="gpt-e", input="Grüße", encoding_format="float").data[0].embedding,
    "completions": lambda client: client.completions.create(model="gpt-i", prompt="Grüße").choices[0].text,
    "responses": lambda client: client.responses.create(model="gpt-5", input="Grüße").output_text,
}


@pytest.mark.parametrize("what", AZURE)
def test_azure_is_asked_as_its_own_client_does(host, url, what):
    own = openai.AzureOpenAI(azure_endpoint=host.url, api_key="ours", api_version="2024-10-21", max_retries=0)
    makers = openai.OpenAI(base_url=f"{url}/v1", api_key="theirs", max_retries=0)
    got, told = [], []
    for client in (makers, own):
        got.append(AZURE[what](client))
        told.append(host.taken())
    assert got[0] == got[1]
    same(*told)
    assert told[0].headers["api-key"] == told[1].headers["api-key"]
    assert "theirs" not in str(told[0].headers)


GEMINI = {
    "whole": lambda client: client.models.generate_content(model="gemini-3", contents="Grüße").text,
    "stream": lambda client: [it.text for it in client.models.generate_content_stream(model="gemini-3", contents="Hi")],
    "count": lambda client: client.models.count_tokens(model="gemini-3", contents="Grüße").total_tokens,
    "vectors": lambda client: [it.values for it in client.models.embed_content(
        model="gemini-embedding-001", contents=["Grüße", "世界"],
        config={"task_type": "RETRIEVAL_QUERY", "output_dimensionality": 1}).embeddings],
}


@pytest.mark.parametrize("what", GEMINI)
def test_gemini_is_asked_for_as_vertexs_own_client_does(host, url, what):
    own = genai.Client(
        vertexai=True, project="p", location="us-east5", credentials=Token(),
        http_options={"base_url": host.url, "api_version": "v1"},
    )
    makers = genai.Client(api_key="theirs", http_options={"base_url": url, "api_version": "v1beta"})
    got, told = [], []
    for client in (makers, own):
        got.append(GEMINI[what](client))
        told.append(host.taken())
    assert got[0] == got[1]
    same(*told)
    assert told[0].headers["authorization"] == told[1].headers["authorization"]
    assert "theirs" not in str(told[0].headers) + told[0].path
