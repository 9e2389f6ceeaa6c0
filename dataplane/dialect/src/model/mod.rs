//! The common model: what all four dialects can say, in no one's words.
//!
//! A request is read from one dialect into [`Request`] and written from there in another; so is an answer
//! ([`Answer`]), and a stream as a sequence of [`Event`]s. There are four readers and four writers of each, and no
//! pairwise translator. What a reader or a writer cannot carry goes into [`Losses`] or is [`Refused`].
//!
//! Owns: the types, what they mean, and the formulas between them. Strings are kept as they were written
//! ([`crate::json::Text`]) and lend from the text they were read from.
//! Must not: know how any dialect spells something.
//! Read next: `request.rs`, `part.rs`, then `event.rs`.

mod answer;
mod capability;
mod echo;
mod event;
mod failure;
mod history;
mod loss;
mod names;
mod opaque;
mod part;
pub mod prose;
mod reading;
mod reasoning;
mod request;
mod stop;
mod target;
mod tool;
mod usage;

pub use answer::{Answer, Choice};
pub use capability::{Capabilities, Need, Needs, ReasoningForm};
pub use echo::Echo;
pub use event::{Block, BlockKind, Event, Sink, Start};
pub use failure::{Failure, Refused};
pub use history::{NO_RESULT, Unanswered, call_names};
pub use loss::Losses;
pub use names::{ToolName, ToolNames, call_id, derived_call_id, flat_name};
pub use opaque::{Opaque, Origin, Realm, SealKind};
pub use part::{
    Args, Audio, CacheMark, Content, Document, DocumentSource, Image, ImageSource, Part, ReasoningPart,
    ServerItem, ToolCall, ToolResult,
};
pub use reading::Reading;
pub use reasoning::{Effort, Mode, Reasoning, Show};
pub use request::{
    Extra, Logprobs, Modalities, Output, Placed, Request, Role, Sampling, Schema, Source, Tier, Turn,
    Verbosity,
};
pub use stop::Stop;
pub use target::{AnthropicVersion, CallIds, Engine, MaxTokensName, Target};
pub use tool::{CustomFormat, Function, HostedTool, Tool, ToolChoice, ToolKind};
pub use usage::Usage;
