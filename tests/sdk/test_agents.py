"""Coding agents themselves, through ringway to a server that speaks their dialect or another: each runs one command.

Runs where they are installed (`npm install @anthropic-ai/claude-code @openai/codex @google/gemini-cli`, 760 MB): their
programs are looked for in RINGWAY_AGENTS, else on the path.

Owns: that an agent's own loop calls its shell and ends. Must not: need them: tests/agents.rs replays what they send.
Read next: scripted.py.
"""

import json
import os
import shutil
import subprocess

import pytest

import scripted

ASK = "Run the command."


def program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("RINGWAY_AGENTS", ""), os.environ["PATH"]]))
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def run(command: list[str], folder, env: dict, wait_s: float = 90.0) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_COLOR": "1", **env}
    done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=wait_s)
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    return said


def test_claude_code_runs_a_command(scripted_gateway, tmp_path):
    gateway, server = scripted_gateway
    command = [program("claude"), "-p", ASK, "--allowedTools", "Bash", "--output-format", "json"]
    env = {
        "ANTHROPIC_BASE_URL": gateway.url,
        "ANTHROPIC_AUTH_TOKEN": "k",
        "ANTHROPIC_MODEL": "claude-sonnet",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    said = json.loads(run(command, tmp_path, env).splitlines()[0])
    assert said["subtype"] == "success" and scripted.MARK in said["result"], said
    assert "x-anthropic-billing-header" not in json.dumps(server.asked[-1]) or server.asked[-1].get("system")


def test_codex_runs_a_command(scripted_gateway, tmp_path):
    gateway, _ = scripted_gateway
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").write_text(
        f"""
model = "gpt-5"
model_provider = "ringway"
[model_providers.ringway]
name = "ringway"
base_url = "{gateway.url}/v1"
env_key = "KEY"
wire_api = "responses"
"""
    )
    command = [program("codex"), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", ASK]
    assert scripted.MARK in run(command, tmp_path, {"KEY": "k"})


def test_gemini_cli_runs_a_command(scripted_gateway, tmp_path):
    gateway, _ = scripted_gateway
    (tmp_path / ".gemini").mkdir()
    settings = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False}}
    (tmp_path / ".gemini" / "settings.json").write_text(json.dumps(settings))
    command = [program("gemini"), "--skip-trust", "--yolo", "-m", "gemini-3-pro", "-p", ASK]
    assert scripted.MARK in run(command, tmp_path, {"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": gateway.url})
