"""Signatures as Amazon's own client makes them, for the data plane's signer to be held against.

    python tests/sdk/sigv4_vectors.py > dataplane/tests/fixtures/sigv4.json

Owns: which requests are signed. Must not: import anything of ours.
"""

import datetime
import json
from unittest import mock

import botocore
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
BODY = '{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[]}'
HOST = "bedrock-runtime.us-east-1.amazonaws.com"
JSON = "application/json"


def case(name, path, **other):
    wanted = {
        "name": name,
        "path": path,
        "host": HOST,
        "content_type": JSON,
        "body": BODY,
        "session_token": None,
        "region": "us-east-1",
        "service": "bedrock",
        "at": "2026-11-25T23:12:28",
    }
    return wanted | other


CASES = [
    # The one of Amazon's published test suite that signs the same fields.
    case(
        "post-x-www-form-urlencoded",
        "/",
        host="example.amazonaws.com",
        content_type="application/x-www-form-urlencoded",
        body="Param1=value1",
        service="service",
        at="2015-08-30T12:36:00",
    ),
    case("a model with a colon", "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke"),
    case("a stream", "/model/anthropic.claude-v2/invoke-with-response-stream"),
    case(
        "a profile by its whole name",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-v2%3A0/invoke",
    ),
    case("below a base path", "/base/v1/model/m~x_y-z.1/invoke"),
    case("a host with a port", "/model/m/invoke", host="127.0.0.1:8443"),
    case("with a session token", "/model/m/invoke", session_token="FwoGZXIvYXdzEBY+/=="),
    case("a body beyond ASCII", "/model/m/invoke", body='{"messages":[{"content":"Grüße, 世界 🌍"}]}'),
    case("an empty body", "/model/m/invoke", body=""),
    case("another region", "/model/m/invoke", host="bedrock-runtime.eu-central-1.amazonaws.com", region="eu-central-1"),
    case("the last second of a year", "/model/m/invoke", at="2027-12-31T23:59:59"),
    case("the first second of a leap day", "/model/m/invoke", at="2028-02-29T00:00:00"),
]


def moment(one):
    return datetime.datetime.fromisoformat(one["at"]).replace(tzinfo=datetime.timezone.utc)


def unix_s(one):
    return int(moment(one).timestamp())


def signature(one):
    at = moment(one)
    request = AWSRequest("POST", f"https://{one['host']}{one['path']}", data=one["body"].encode())
    request.headers["Content-Type"] = one["content_type"]
    request.headers["Host"] = one["host"]
    credentials = Credentials("AKIDEXAMPLE", SECRET, one["session_token"])
    with mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: at.replace(tzinfo=None)):
        auth.SigV4Auth(credentials, one["service"], one["region"]).add_auth(request)
    return request.headers["Authorization"]


def main():
    made = [one | {"unix_s": unix_s(one), "authorization": signature(one)} for one in CASES]
    print(json.dumps({"made_by": f"botocore {botocore.__version__}", "cases": made}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
