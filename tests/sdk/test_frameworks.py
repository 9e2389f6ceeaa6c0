"""LangChain and LiteLLM as clients, through ringway to a server that speaks their dialect or another.

Owns: a call and its result, as these frameworks send them.
Must not: test the frameworks.
Read next: scripted.py.
"""

import litellm
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI

ASK = "What is the weather in Rome?"


@tool
def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"sunny in {city}"


def clients(url: str) -> dict:
    return {
        "openai": ChatOpenAI(model="m", base_url=f"{url}/v1", api_key="k", max_retries=0),
        "responses": ChatOpenAI(model="m", base_url=f"{url}/v1", api_key="k", max_retries=0, use_responses_api=True),
        "anthropic": ChatAnthropic(model="m", base_url=url, api_key="k", max_retries=0, max_tokens=100),
        "google": ChatGoogleGenerativeAI(model="m", base_url=url, api_key="k", max_retries=1, transport="rest"),
    }


@pytest.mark.parametrize("name", ["openai", "responses", "anthropic", "google"])
def test_langchain_calls_a_tool_and_streams_what_it_said(scripted_gateway, name):
    gateway, _ = scripted_gateway
    model = clients(gateway.url)[name].bind_tools([get_weather])
    conversation = [HumanMessage(ASK)]
    call = model.invoke(conversation)
    assert call.tool_calls[0]["args"] == {"city": "Rome"}, call
    result = get_weather.invoke(call.tool_calls[0]["args"])
    conversation += [call, ToolMessage(result, tool_call_id=call.tool_calls[0]["id"], name="get_weather")]
    said = "".join(chunk.text if isinstance(chunk.text, str) else chunk.text() for chunk in model.stream(conversation))
    assert "sunny in Rome" in said


@pytest.mark.parametrize("provider", ["openai/m", "anthropic/m", "gemini/m"])
def test_litellm_calls_a_tool(scripted_gateway, provider):
    gateway, _ = scripted_gateway
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]
    base = {"openai/m": f"{gateway.url}/v1", "anthropic/m": gateway.url, "gemini/m": f"{gateway.url}/v1beta"}[provider]
    ask = [{"role": "user", "content": ASK}]
    answer = litellm.completion(model=provider, messages=ask, tools=tools, api_base=base, api_key="k", num_retries=0)
    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"
