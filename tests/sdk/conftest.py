"""A running gateway in front of simulated GPU servers, for the official clients.

Owns: the processes and the snapshot. Must not: know what a test asks.
Read next: test_openai.py.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time

import httpx
import pytest

import scripted

MODEL = "demo"
START_S = 20.0
BIN = pathlib.Path(os.environ.get("RINGWAY_BIN_DIR", "target/debug"))


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, next to each other: replica k of the simulator takes port + k."""
    for _ in range(200):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            base = first.getsockname()[1]
        others = [socket.socket() for _ in range(count)]
        try:
            for offset, other in enumerate(others):
                other.bind(("127.0.0.1", base + offset))
            return [base + offset for offset in range(count)]
        except (OSError, OverflowError):
            continue
        finally:
            for other in others:
                other.close()
    raise RuntimeError("no free ports next to each other")


def endpoint(port: int) -> dict:
    return {"authority": f"127.0.0.1:{port}", "addresses": [f"127.0.0.1:{port}"]}


def backend(name: str, engine: str, dialect: str, ports: list[int]) -> dict:
    endpoints = [endpoint(port) for port in ports]
    return {"name": name, "engine": engine, "dialect": dialect, "endpoints": endpoints, "models": [MODEL]}


def route(name: str, match: dict, target: str) -> dict:
    return {"name": name, "match": match, "targets": [{"backend": target}]}


def snapshot(listen: int, sims: list[int], log: pathlib.Path) -> dict:
    return {
        "format": 1,
        "generation": 1,
        "listeners": [{"address": f"127.0.0.1:{listen}"}],
        "backends": [
            backend("gpus", "vllm", "openai-chat", sims),
            backend("claude", "anthropic", "anthropic-messages", sims),
        ],
        "routes": [
            route("messages", {"path": "/v1/messages", "models": [MODEL]}, "claude"),
            route("chat", {"path": "/v1/chat/completions", "models": [MODEL]}, "gpus"),
            route("completions", {"path": "/v1/completions", "models": [MODEL]}, "gpus"),
        ],
        "logging": {"access": {"path": str(log)}, "format": "json"},
    }


class Gateway:
    """The addresses of a running gateway, and what its control socket tells."""

    def __init__(self, port: int, control: pathlib.Path):
        self.url = f"http://127.0.0.1:{port}"
        self._control = httpx.Client(transport=httpx.HTTPTransport(uds=str(control)), base_url="http://localhost")

    def stats(self) -> dict:
        return self._control.get("/v1/stats").raise_for_status().json()

    def is_ready(self) -> bool:
        try:
            return self._control.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def busy(self) -> int:
        """Exchanges and upstream connections in use, all workers."""
        stats = self.stats()
        in_flight = sum(endpoint["in_flight"] for endpoint in stats["endpoints"])
        return in_flight + sum(worker["exchanges"] + worker["upstream_active"] for worker in stats["workers"])

    def wait_idle(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while (busy := self.busy()) > 0:
            assert time.monotonic() < deadline, f"{busy} still in use after {within_s} s: {self.stats()}"
            time.sleep(0.01)

    def wait_busy(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while self.busy() == 0:
            assert time.monotonic() < deadline, "nothing in flight"
            time.sleep(0.005)


def wait_for(what: str, ready) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        assert time.monotonic() < deadline, f"{what} is not ready in {START_S} s"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(folder: pathlib.Path, config: dict, sims: list[int] = ()):
    """A gateway of this configuration, and simulated servers at these ports; checks that both leave in good order."""
    folder.chmod(0o700)
    path = folder / "snapshot.json"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    control = folder / "dataplane.sock"
    proxy = [BIN / "ringway", "--snapshot", path, "--control", control, "--workers", "2", "--no-pin"]
    sim = [BIN / "ringload", "sim", "--model", MODEL, "--replicas", str(len(sims))]
    commands = [[*sim, "--listen", f"127.0.0.1:{sims[0]}"]] if sims else []
    processes = []
    try:
        for command in [*commands, proxy]:
            log = (folder / f"{pathlib.Path(command[0]).name}.log").open("w")
            processes.append(subprocess.Popen([str(part) for part in command], stdout=log, stderr=log))
        gateway = Gateway(int(config["listeners"][0]["address"].rpartition(":")[2]), control)
        wait_for("the simulator", lambda: all(listens(port) for port in sims))
        wait_for("ringway", gateway.is_ready)
        yield gateway
        gateway.wait_idle(3.0)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=15)
    log = (folder / "ringway.log").read_text()
    assert processes[-1].returncode == 0, log
    assert "panicked" not in log, log


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ringway")
    sims = free_ports(2)
    (listen,) = free_ports(1)
    with running(folder, snapshot(listen, sims, folder / "access.log"), sims) as gateway:
        yield gateway


@pytest.fixture(scope="session", params=["openai-chat", "anthropic-messages"])
def scripted_gateway(request, tmp_path_factory):
    """A gateway that takes every dialect, in front of one scripted server; and that server."""
    folder = tmp_path_factory.mktemp("scripted")
    server = scripted.serve()
    (listen,) = free_ports(1)
    engine = {"openai-chat": "vllm", "anthropic-messages": "anthropic"}[request.param]
    config = {
        "format": 1,
        "generation": 1,
        "listeners": [{"address": f"127.0.0.1:{listen}"}],
        "backends": [backend("model", engine, request.param, [server.server_address[1]])],
        "routes": [{**route("all", {"path_prefix": "/"}, "model"), "expose": True}],
        "logging": {"access": {"path": str(folder / "access.log")}, "format": "json"},
    }
    with running(folder, config) as gateway:
        yield gateway, server
    server.shutdown()
