"""What ringway's translators write, read by each dialect's official client: raw events, helpers and whole answers.

The answers are recorded ones (RINGWAY_FIXTURES, else the small set), from every dialect into every other. What they
should say was read from the same bytes by an independent judge that agrees with the vendors' own clients.
"""

import json
import os
import pathlib
import subprocess

import pytest

from translated import READERS, serve

ROOT = pathlib.Path(__file__).parents[2]
DIALECTS = list(READERS)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    command = ["cargo", "test", "--quiet", "--package", "ringway-dialect", "--test", "matrix", "what_was_written"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "RINGWAY_EMIT": str(folder)}, check=True)
    lines = (folder / "index.jsonl").read_text().splitlines()
    server = serve(folder)
    yield f"http://127.0.0.1:{server.server_address[1]}", [json.loads(line) for line in lines]
    server.shutdown()


def read(reader, line: dict) -> list[dict]:
    return reader.stream(line["number"]) if line["stream"] else [reader.unary(line["number"])]


@pytest.mark.parametrize("into", DIALECTS)
@pytest.mark.parametrize("source", DIALECTS)
def test_the_official_client_reads_what_was_said(written, source, into):
    base, index = written
    reader = READERS[into](base)
    wrong, count = [], 0
    for line in index:
        if line["from"] != source or line["into"] != into or line["array"]:
            continue
        count += 1
        try:
            for says in read(reader, line):
                differing = [key for key, value in line["says"].items() if not same(key, says[key], value)]
                for key in differing:
                    wrong.append(f"{line['file']} {key}: {says[key]!r:.200} for {line['says'][key]!r:.200}")
        except Exception as error:  # every error of a client's is a finding
            wrong.append(f"{line['file']}: {type(error).__name__}: {str(error):.300}")
    if count == 0:
        pytest.skip("the small set of fixtures has nothing of this dialect; RINGWAY_FIXTURES names the large one")
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:20])


def same(key: str, got, want) -> bool:
    if key == "usage" and want is None:
        return True  # some clients want a number even where there is none
    if key == "usage" and want == [0, 0]:
        return got in (None, want)
    return got == want


def test_an_array_is_read_like_the_events(written):
    """Google's Python client asks for events only; whoever asks for an array reads its elements as they are."""
    base, index = written
    reader = READERS["gemini"](base)
    arrays = [line for line in index if line["array"]]
    for line in arrays:
        says = reader.array(line["number"])
        differing = [key for key, value in line["says"].items() if not same(key, says[key], value)]
        assert not differing, (line["file"], differing)
