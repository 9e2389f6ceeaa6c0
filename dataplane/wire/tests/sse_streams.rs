//! Streams made by chance in all four shapes, each with the account that its making implies.
//! Owns: what each event means to the observer, written down a second time. Must not: read a stream itself.
//! Read next: `sse_observer.rs`, which does the same with recorded streams.

#[path = "../../../fuzz/checks/sse.rs"]
mod check;
mod support;

use check::{Account, observe};
use ringway_wire::sse::{Shape, Usage};
use std::fmt::Write as _;
use support::{Dice, cut};

/// One event, and what it does to the account.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a claim of its own, and any of them may go together"
)]
struct Step {
    /// Its name, for the dialects that name events.
    name: &'static str,
    data: String,
    usage: Usage,
    /// It has content, to who reads it.
    content: bool,
    /// It counts as content after the first token, where events are told by their sort.
    later: bool,
    error: bool,
    /// The stream is over, by its own word.
    over: bool,
    /// It is no event to us: an end marker or a heartbeat.
    silent: bool,
}

/// Text that looks like what the observer looks for, and is not; every letter of it is content.
const TEXTS: [&str; 10] = [
    "a",
    "Grüße, 世界 😀",
    "\u{2028}\u{85}",
    r"\n\n",
    r#"\"usage\":{\"prompt_tokens\":99}"#,
    r#"\"error\":{\"code\":1},\"finish_reason\":\"stop\""#,
    r"data: [DONE]\r\n\r\nevent: error",
    r"\ud83d\ude00\u0022",
    r#"{\"type\":\"message_stop\"}\\"#,
    "response.failed",
];

fn text(dice: &mut Dice) -> &'static str {
    TEXTS[dice.below(TEXTS.len())]
}

fn maybe<'t>(dice: &mut Dice, text: &'t str) -> &'t str {
    if dice.below(2) == 0 { text } else { "" }
}

/// An object's members in a random order: no provider promises one.
fn object(dice: &mut Dice, members: &[&str]) -> String {
    let mut members: Vec<&str> = members.iter().copied().filter(|member| !member.is_empty()).collect();
    for n in (1..members.len()).rev() {
        members.swap(n, dice.below(n + 1));
    }
    let space = maybe(dice, " ");
    format!("{{{space}{}{space}}}", members.join(&format!(",{space}")))
}

/// Members that mean nothing in a shape that does not name its events by `type`.
const ODD: [&str; 6] = [
    r#""type":"error""#,
    r#""type":"message_stop""#,
    r#""type":"response.completed""#,
    r#""x":{"usage":{"prompt_tokens":7},"error":{}}"#,
    r#""usage":null,"usageMetadata":null,"error":null"#,
    "",
];

fn odd(dice: &mut Dice) -> &'static str {
    ODD[dice.below(ODD.len())]
}

fn openai(dice: &mut Dice) -> Step {
    let number = dice.below(1_000) as u64;
    let choice = |dice: &mut Dice, delta: &str, finish: &str| {
        let index = ["\"index\":0", ""][dice.below(2)];
        let choice = object(dice, &[index, &format!("\"delta\":{delta}"), finish]);
        let odd = odd(dice);
        object(dice, &["\"object\":\"chat.completion.chunk\"", &format!("\"choices\":[{choice}]"), odd])
    };
    let null = maybe(dice, "\"finish_reason\":null");
    match dice.below(10) {
        0 => Step {
            data: choice(dice, r#"{"role":"assistant","content":""}"#, null),
            later: true,
            ..Step::default()
        },
        1 => {
            let call =
                format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{}"}}}}]}}"#, text(dice));
            Step { data: choice(dice, &call, null), content: true, later: true, ..Step::default() }
        }
        2 => Step { data: choice(dice, "{}", "\"finish_reason\":\"stop\""), over: true, ..Step::default() },
        3 => Step {
            data: object(
                dice,
                &[
                    "\"choices\":[]",
                    &format!(
                        r#""usage":{{"prompt_tokens":{number},"completion_tokens":5,"prompt_tokens_details":{{"cached_tokens":2}},"completion_tokens_details":{{"reasoning_tokens":null}}}}"#
                    ),
                ],
            ),
            usage: Usage { input: Some(number), output: Some(5), cache_read: Some(2), ..Usage::default() },
            ..Step::default()
        },
        4 => Step {
            data: r#"{"type":"error","error":{"message":"down"}}"#.to_owned(),
            error: true,
            ..Step::default()
        },
        5 => Step { data: "[DONE]".to_owned(), over: true, silent: true, ..Step::default() },
        _ => {
            let delta = format!(r#"{{"content":"{}"}}"#, text(dice));
            Step { data: choice(dice, &delta, null), content: true, later: true, ..Step::default() }
        }
    }
}

fn gemini(dice: &mut Dice) -> Step {
    let number = dice.below(1_000) as u64;
    let counts = format!(
        r#""usageMetadata":{{"promptTokenCount":{number},"thoughtsTokenCount":3,"totalTokenCount":9}}"#
    );
    let usage = Usage { input: Some(number), reasoning: Some(3), total: Some(9), ..Usage::default() };
    let say = |dice: &mut Dice, part: &str, rest: &str| {
        let index = maybe(dice, "\"index\":0");
        let content = format!(r#""content":{{"role":"model","parts":[{part}]}}"#);
        let candidate = object(dice, &[&content, index]);
        let odd = odd(dice);
        object(dice, &[&format!("\"candidates\":[{candidate}]"), rest, odd])
    };
    match dice.below(9) {
        0 => Step { data: say(dice, r#"{"text":""}"#, ""), later: true, ..Step::default() },
        1 => Step {
            data: say(dice, r#"{"functionCall":{"name":"f","args":{}}}"#, ""),
            content: true,
            later: true,
            ..Step::default()
        },
        2 => Step {
            data: object(dice, &[r#""candidates":[{"finishReason":"STOP","index":0}]"#, &counts]),
            usage,
            over: true,
            ..Step::default()
        },
        3 => Step {
            data: r#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#.to_owned(),
            error: true,
            ..Step::default()
        },
        4 => Step {
            data: r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#.to_owned(),
            over: true,
            ..Step::default()
        },
        5 => Step { data: object(dice, &[&counts]), usage, ..Step::default() },
        n => {
            let part = format!(r#"{{"text":"{}"}}"#, text(dice));
            let (rest, usage) = if n == 6 { (&*counts, usage) } else { ("", Usage::default()) };
            Step { data: say(dice, &part, rest), usage, content: true, later: true, ..Step::default() }
        }
    }
}

fn anthropic(dice: &mut Dice) -> Step {
    let number = dice.below(1_000) as u64;
    let step = |dice: &mut Dice, name: &'static str, rest: &[&str]| {
        let kind = format!("\"type\":\"{name}\"");
        Step { name, data: object(dice, &[&[&*kind], rest].concat()), ..Step::default() }
    };
    match dice.below(9) {
        0 => Step {
            usage: Usage { input: Some(number), output: Some(1), ..Usage::default() },
            ..step(
                dice,
                "message_start",
                &[&format!(
                    r#""message":{{"content":[],"usage":{{"input_tokens":{number},"cache_read_input_tokens":null,"output_tokens":1}}}}"#
                )],
            )
        },
        1 => step(dice, "ping", &[]),
        2 => step(
            dice,
            "content_block_start",
            &["\"index\":0", r#""content_block":{"type":"text","text":""}"#],
        ),
        3 => Step {
            content: true,
            later: true,
            ..step(
                dice,
                "content_block_start",
                &[r#""content_block":{"type":"tool_use","name":"f","input":{}}"#],
            )
        },
        4 => Step {
            usage: Usage { output: Some(number), cache_write: Some(4), ..Usage::default() },
            over: true,
            ..step(
                dice,
                "message_delta",
                &[
                    r#""delta":{"stop_reason":"end_turn"}"#,
                    &format!(r#""usage":{{"output_tokens":{number},"cache_creation_input_tokens":4}}"#),
                ],
            )
        },
        5 => Step { over: true, ..step(dice, "message_stop", &[]) },
        6 => Step { error: true, ..step(dice, "error", &[r#""error":{"type":"overloaded_error"}"#]) },
        _ => {
            let delta = format!(r#""delta":{{"type":"text_delta","text":"{}"}}"#, text(dice));
            Step { content: true, later: true, ..step(dice, "content_block_delta", &["\"index\":0", &delta]) }
        }
    }
}

fn responses(dice: &mut Dice) -> Step {
    let number = dice.below(1_000) as u64;
    let step = |dice: &mut Dice, name: &'static str, rest: &[&str]| {
        let kind = format!("\"type\":\"{name}\"");
        Step {
            name,
            data: object(dice, &[&[&*kind, "\"sequence_number\":4"], rest].concat()),
            ..Step::default()
        }
    };
    match dice.below(8) {
        0 => step(dice, "response.created", &[r#""response":{"output":[],"error":null,"usage":null}"#]),
        1 => step(dice, "response.output_item.added", &[r#""item":{"type":"message","content":[]}"#]),
        2 => Step {
            content: true,
            ..step(
                dice,
                "response.output_item.done",
                &[r#""item":{"content":[{"type":"output_text","text":"a"}]}"#],
            )
        },
        3 => Step {
            usage: Usage { input: Some(number), output: Some(2), reasoning: Some(1), ..Usage::default() },
            content: true,
            over: true,
            ..step(
                dice,
                "response.completed",
                &[&format!(
                    r#""response":{{"output":[{{"content":[{{"text":"a"}}]}}],"usage":{{"input_tokens":{number},"output_tokens":2,"output_tokens_details":{{"reasoning_tokens":1}}}}}}"#
                )],
            )
        },
        4 => Step {
            error: true,
            over: true,
            ..step(dice, "response.failed", &[r#""response":{"error":{"code":"server_error"}}"#])
        },
        5 => Step { error: true, over: true, ..step(dice, "error", &["\"code\":\"x\""]) },
        _ => {
            let delta = format!("\"delta\":\"{}\"", text(dice));
            Step { content: true, later: true, ..step(dice, "response.output_text.delta", &[&delta]) }
        }
    }
}

fn step(shape: Shape, dice: &mut Dice) -> Step {
    match shape {
        Shape::OpenAi => openai(dice),
        Shape::Gemini => gemini(dice),
        Shape::Anthropic => anthropic(dice),
        Shape::Responses => responses(dice),
        Shape::Unknown => unreachable!("no stream is made in an unknown shape"),
    }
}

/// The account that these steps add up to. `by_sort`: after the first token, content is told by the event's sort.
fn account(shape: Shape, steps: &[Step], by_sort: bool) -> Account {
    let mut all = Account {
        usage: Usage::default(),
        first_tokens: 0,
        events: 0,
        content_events: 0,
        terminal: false,
        error: false,
        shape,
    };
    for step in steps {
        let content = if by_sort && all.content_events > 0 { step.later } else { step.content };
        all.content_events += u64::from(content);
        all.events += u32::from(!step.silent);
        all.terminal |= step.over;
        all.error |= step.error;
        let (usage, later) = (&mut all.usage, step.usage);
        usage.input = later.input.or(usage.input);
        usage.output = later.output.or(usage.output);
        usage.cache_read = later.cache_read.or(usage.cache_read);
        usage.cache_write = later.cache_write.or(usage.cache_write);
        usage.reasoning = later.reasoning.or(usage.reasoning);
        usage.total = later.total.or(usage.total);
    }
    all.first_tokens = u32::from(all.content_events > 0);
    all
}

/// Writes the steps as events, in one of the ways that the standard allows.
fn events(shape: Shape, steps: &[Step], dice: &mut Dice) -> String {
    let end = ["\n", "\r\n", "\r"][dice.below(3)];
    let named = matches!(shape, Shape::Anthropic | Shape::Responses) && dice.below(3) > 0;
    let mut stream = maybe(dice, "\u{feff}").to_owned();
    for step in steps {
        match dice.below(8) {
            0 => write!(stream, ": ping{end}{end}"),
            1 => write!(stream, "data: : keepalive{end}{end}"),
            2 => write!(stream, "id: 7{end}retry: 5{end}:{end}"),
            _ => Ok(()),
        }
        .expect("a String takes all");
        if named {
            write!(stream, "event: {}{end}", step.name).expect("a String takes all");
        }
        let space = maybe(dice, " ");
        write!(stream, "data:{space}{}{end}{end}", step.data).expect("a String takes all");
    }
    stream
}

/// Writes the steps as Gemini does without `alt=sse`. After an error the array is not closed.
fn array(steps: &[Step], dice: &mut Dice) -> String {
    let all: Vec<&str> = steps.iter().map(|step| step.data.as_str()).collect();
    let failed = steps.last().is_some_and(|step| step.error);
    let close = if failed { "" } else { "]" };
    format!("{}[{}{close}", maybe(dice, " \r\n"), all.join([",", ",\r\n", "\n,\n"][dice.below(3)]))
}

const SHAPES: [Shape; 4] = [Shape::OpenAi, Shape::Gemini, Shape::Anthropic, Shape::Responses];
const STREAMS: u64 = 60;
const STEPS_MAX: usize = 9;

fn steps(shape: Shape, dice: &mut Dice) -> Vec<Step> {
    let many = 1 + dice.below(STEPS_MAX);
    (0..many).map(|_| step(shape, dice)).collect()
}

/// Whole, in two at every byte, and by chance: always the account that was made.
fn holds(shape: Shape, stream: &str, made: &Account, dice: &mut Dice) {
    let bytes = stream.as_bytes();
    check::check(bytes);
    assert_eq!(&observe(shape, [bytes]), made, "{stream}");
    for at in 1..bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(&observe(shape, [left, right]), made, "cut at {at}: {stream}");
    }
    for most in [1, 2, 7, 40, 400] {
        assert_eq!(&observe(shape, cut(bytes, most, dice)), made, "cut by {most}: {stream}");
    }
}

#[test]
fn a_stream_of_any_shape_gives_the_account_it_was_made_with_at_every_cut() {
    for shape in SHAPES {
        for seed in 1..=STREAMS {
            let mut dice = Dice::new(seed);
            let steps = steps(shape, &mut dice);
            let stream = events(shape, &steps, &mut dice);
            holds(shape, &stream, &account(shape, &steps, true), &mut dice);
        }
    }
}

#[test]
fn an_array_gives_the_account_it_was_made_with_at_every_cut() {
    for seed in 1..=STREAMS {
        let mut dice = Dice::new(seed);
        let steps = steps(Shape::Gemini, &mut dice);
        let stream = array(&steps, &mut dice);
        holds(Shape::Gemini, &stream, &account(Shape::Gemini, &steps, false), &mut dice);
    }
}

#[test]
fn a_stream_cut_short_never_says_more_than_the_whole_one() {
    for shape in SHAPES {
        for seed in 1..=STREAMS / 4 {
            let mut dice = Dice::new(seed);
            let steps = steps(shape, &mut dice);
            let stream = events(shape, &steps, &mut dice);
            let whole = observe(shape, [stream.as_bytes()]);
            for end in 0..stream.len() {
                let part = observe(shape, [&stream.as_bytes()[..end]]);
                assert!(
                    part.events <= whole.events && part.content_events <= whole.content_events,
                    "{stream}"
                );
                assert!(part.terminal <= whole.terminal && part.error <= whole.error, "{end} of {stream}");
            }
        }
    }
}
