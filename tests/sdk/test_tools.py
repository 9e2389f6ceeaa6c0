"""Tool loops of official clients, through ringway to a server that speaks their dialect or another.

Owns: that each client's own loop ends with what its tool said, streamed and not.
Must not: check how a call is spelled; the dialect tests do.
Read next: scripted.py.
"""

import json

import anthropic
import openai
from google import genai
from google.genai import types

ASK = "What is the weather in Rome?"
SAID = "sunny in Rome"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def get_weather(city: str) -> str:
    """Tells the weather of a city.

    Args:
        city: Which city.
    """
    return f"sunny in {city}"


def test_chat_streams_a_call_and_takes_its_result(scripted_gateway):
    gateway, _ = scripted_gateway
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0)
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages = [{"role": "user", "content": ASK}]
    with client.chat.completions.stream(model="m", messages=messages, tools=tools) as stream:
        call = stream.get_final_completion().choices[0].message
    function = call.tool_calls[0].function
    assert json.loads(function.arguments) == {"city": "Rome"}
    result = {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": get_weather("Rome")}
    messages += [call.model_dump(exclude_none=True, exclude={"parsed"}), result]
    for message in messages:
        for one in message.get("tool_calls") or []:
            one["function"].pop("parsed_arguments", None)
    with client.chat.completions.stream(model="m", messages=messages, tools=tools) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert SAID in final.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"
    assert "content.delta" in kinds


def test_responses_streams_a_call_and_takes_its_result(scripted_gateway):
    gateway, _ = scripted_gateway
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0)
    tools = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}]
    conversation = [{"role": "user", "content": ASK}]
    with client.responses.stream(model="m", input=conversation, tools=tools, store=False) as stream:
        kinds = {event.type for event in stream}
        first = stream.get_final_response()
    call = next(item for item in first.output if item.type == "function_call")
    assert json.loads(call.arguments) == {"city": "Rome"}
    assert {"response.created", "response.function_call_arguments.done", "response.completed"} <= kinds
    conversation += [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": get_weather("Rome")},
    ]
    final = client.responses.create(model="m", input=conversation, tools=tools, store=False)
    assert SAID in final.output_text
    assert final.usage.total_tokens == 16


def test_the_anthropic_tool_runner_runs_to_its_end(scripted_gateway):
    gateway, _ = scripted_gateway
    client = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
    tool = anthropic.beta_tool(get_weather)
    ask = [{"role": "user", "content": ASK}]
    runner = client.beta.messages.tool_runner(model="m", max_tokens=100, messages=ask, tools=[tool])
    final = runner.until_done()
    assert SAID in final.content[-1].text
    assert final.stop_reason == "end_turn"


def test_the_anthropic_tool_runner_streams_to_its_end(scripted_gateway):
    gateway, _ = scripted_gateway
    client = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
    tool = anthropic.beta_tool(get_weather)
    ask = [{"role": "user", "content": ASK}]
    runner = client.beta.messages.tool_runner(model="m", max_tokens=100, messages=ask, tools=[tool], stream=True)
    messages = [stream.get_final_message() for stream in runner]
    assert [message.stop_reason for message in messages] == ["tool_use", "end_turn"]
    assert SAID in messages[-1].content[-1].text


def test_the_anthropic_stream_helper_gathers_text(scripted_gateway):
    gateway, _ = scripted_gateway
    client = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
    ask = [{"role": "user", "content": ASK}]
    with client.messages.stream(model="m", max_tokens=100, messages=ask) as stream:
        assert "".join(stream.text_stream).strip() == "I know no tool here."
        assert stream.get_final_message().usage.output_tokens == 5


def google(gateway) -> genai.Client:
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=gateway.url, api_version="v1beta"))


def test_google_calls_functions_by_itself(scripted_gateway):
    gateway, server = scripted_gateway
    asked = len(server.asked)
    config = types.GenerateContentConfig(tools=[get_weather])
    client = google(gateway)
    answer = client.models.generate_content(model="m", contents=ASK, config=config)
    assert SAID in answer.text
    assert len(server.asked) - asked == 2


def test_google_streams(scripted_gateway):
    gateway, _ = scripted_gateway
    client = google(gateway)
    chunks = list(client.models.generate_content_stream(model="m", contents=ASK))
    assert "".join(chunk.text or "" for chunk in chunks).strip() == "I know no tool here."
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.prompt_token_count == 11


def test_counts_of_tokens_are_asked_of_a_counter_or_not_answered(scripted_gateway):
    gateway, server = scripted_gateway
    client = anthropic.Anthropic(base_url=gateway.url, api_key="k", max_retries=0)
    try:
        client.messages.count_tokens(model="m", messages=[{"role": "user", "content": ASK}])
    except anthropic.APIStatusError as error:
        assert error.status_code >= 400  # this server has no counter, and nobody makes a number up
    else:
        raise AssertionError("somebody counted")
