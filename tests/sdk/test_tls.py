"""Official clients over TLS, through ringway to a server over TLS: one test authority for both ways.

Owns: that each client is content with ringway's TLS, streamed and not. Must not: test certificates; tests/tls does.
Read next: scripted.py.
"""

import shutil
import ssl
import subprocess

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types

import scripted
from conftest import backend, free_ports, route, running

ASK = [{"role": "user", "content": "Say something."}]
SAID = "I know no tool here."


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """The address of a gateway that speaks TLS on both sides, and the file of whom to trust."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate, and is not installed")
    folder = tmp_path_factory.mktemp("secure")
    cert, key = folder / "cert.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*make.split(), *names], check=True, capture_output=True)
    server = scripted.serve()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    (listen,) = free_ports(1)
    model = backend("model", "vllm", "openai-chat", [server.server_address[1]])
    model["endpoints"][0]["secure"] = True
    model["tls"] = {"ca": str(cert), "server_name": "localhost"}
    certificates = [{"cert": str(cert), "key": str(key)}]
    config = {
        "format": 1,
        "generation": 1,
        "listeners": [{"address": f"127.0.0.1:{listen}", "tls": {"certificates": certificates}}],
        "backends": [model],
        "routes": [route("all", {"path_prefix": "/"}, "model")],
        "logging": {"access": {"path": str(folder / "access.log")}, "format": "json"},
    }
    with running(folder, config):
        yield f"https://localhost:{listen}", str(cert)
    server.shutdown()


def test_the_openai_client_speaks_tls(secure):
    url, trusted = secure
    http = httpx.Client(verify=ssl.create_default_context(cafile=trusted))
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, http_client=http)
    assert client.chat.completions.create(model="m", messages=ASK).choices[0].message.content == SAID
    chunks = client.chat.completions.create(model="m", messages=ASK, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).strip() == SAID


def test_the_anthropic_client_speaks_tls(secure):
    url, trusted = secure
    http = anthropic.DefaultHttpxClient(verify=ssl.create_default_context(cafile=trusted))
    client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=0, http_client=http)
    with client.messages.stream(model="m", max_tokens=50, messages=ASK) as stream:
        assert "".join(stream.text_stream).strip() == SAID


def test_the_google_client_speaks_tls(secure):
    url, trusted = secure
    verify = {"verify": ssl.create_default_context(cafile=trusted)}
    options = types.HttpOptions(base_url=url, api_version="v1beta", client_args=verify)
    client = genai.Client(api_key="k", http_options=options)
    assert client.models.generate_content(model="m", contents="Say something.").text == SAID


def test_a_client_that_does_not_trust_the_authority_is_not_served(secure):
    url, _ = secure
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=ASK)
