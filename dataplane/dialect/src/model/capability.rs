//! What a model can do, and what a request needs.
//! Owns: the comparison that lets routing pass over a target that cannot do the job.
//! Must not: refuse what could be carried over with a loss: that is for the writers to say.
//! Read next: `reasoning.rs`.

use super::part::{Content, DocumentSource, ImageSource, Part};
use super::reasoning::Mode;
use super::request::{Output, Request};
use crate::dialect::Dialect;

/// What a model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a list of independent facts from a catalogue")]
pub struct Capabilities {
    /// It sees pictures.
    pub images: bool,
    /// Pictures may be given by address.
    pub image_urls: bool,
    /// It hears.
    pub audio: bool,
    /// It reads documents.
    pub documents: bool,
    /// It calls tools.
    pub tools: bool,
    /// It answers by a JSON schema.
    pub json_schema: bool,
    /// How it is asked to think.
    pub reasoning: ReasoningForm,
    /// Most tokens of an answer.
    pub max_output: Option<u64>,
    /// It takes instructions in the middle of a conversation as such.
    pub system_turns: bool,
    /// It takes marks of what to cache; other upstreams cache by themselves.
    pub cache_marks: bool,
}

/// How a model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasoningForm {
    /// It does not.
    None,
    /// By an effort in words.
    Effort,
    /// By a budget of tokens, up to so many.
    Budget {
        /// The most it takes.
        cap: u64,
    },
    /// Anthropic's adaptive thinking with an effort.
    Adaptive,
}

impl Capabilities {
    /// What is assumed of a model that the catalogue does not know: all that its dialect can say.
    pub const fn assumed(dialect: Dialect) -> Self {
        let anthropic = matches!(dialect, Dialect::Anthropic);
        let gemini = matches!(dialect, Dialect::Gemini);
        Self {
            images: true,
            image_urls: true,
            audio: !anthropic,
            documents: true,
            tools: true,
            json_schema: true,
            reasoning: if anthropic { ReasoningForm::Budget { cap: 64_000 } } else { ReasoningForm::Effort },
            max_output: None,
            system_turns: !anthropic && !gemini,
            cache_marks: anthropic,
        }
    }

    /// The first thing that is needed and not there.
    pub fn lacks(&self, needs: &Needs) -> Option<Need> {
        let short = needs.max_output.zip(self.max_output).is_some_and(|(wanted, most)| wanted > most);
        let pairs = [
            (Need::Images, needs.images && !self.images),
            (Need::ImageUrls, needs.image_urls && !self.image_urls),
            (Need::Audio, needs.audio && !self.audio),
            (Need::Documents, needs.documents && !self.documents),
            (Need::Tools, needs.tools && !self.tools),
            (Need::JsonSchema, needs.json_schema && !self.json_schema),
            (Need::Reasoning, needs.reasoning && self.reasoning == ReasoningForm::None),
            (Need::MaxOutput, short),
        ];
        pairs.into_iter().find_map(|(need, missing)| missing.then_some(need))
    }
}

/// Something that a request may need of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// To see pictures.
    Images,
    /// To fetch pictures.
    ImageUrls,
    /// To hear.
    Audio,
    /// To read documents.
    Documents,
    /// To call tools.
    Tools,
    /// To answer by a schema.
    JsonSchema,
    /// To think.
    Reasoning,
    /// To answer at such length.
    MaxOutput,
}

/// What a request needs of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a list of independent facts about a request")]
pub struct Needs {
    /// To see pictures.
    pub images: bool,
    /// To fetch pictures.
    pub image_urls: bool,
    /// To hear.
    pub audio: bool,
    /// To read documents.
    pub documents: bool,
    /// To call tools.
    pub tools: bool,
    /// To answer by a schema.
    pub json_schema: bool,
    /// To think.
    pub reasoning: bool,
    /// To answer at such length.
    pub max_output: Option<u64>,
}

impl Needs {
    /// Of this request.
    pub fn of(request: &Request<'_>) -> Self {
        let schema =
            matches!(request.output.as_ref().map(|output| &output.value), Some(Output::JsonSchema(_)));
        let mut needs = Self {
            tools: !request.tools.is_empty(),
            json_schema: schema,
            reasoning: request.reasoning.as_ref().is_some_and(|reasoning| reasoning.value.mode == Mode::On),
            max_output: request.max_output.map(|most| most.value),
            ..Self::default()
        };
        request.turns.iter().flat_map(|turn| &turn.parts).for_each(|part| needs.add(part));
        needs
    }

    fn add(&mut self, part: &Part<'_>) {
        match &part.content {
            Content::Image(image) => {
                self.images = true;
                self.image_urls |= matches!(image.source, ImageSource::Url { .. });
            }
            Content::Audio(_) => self.audio = true,
            Content::Document(document) => match &document.source {
                DocumentSource::Base64 { .. } | DocumentSource::Url(_) | DocumentSource::File { .. } => {
                    self.documents = true;
                }
                DocumentSource::Parts(parts) => parts.iter().for_each(|part| self.add(part)),
                DocumentSource::Text(_) => {} // can go as text
            },
            Content::ToolResult(result) => result.content.iter().for_each(|part| self.add(part)),
            Content::Text { .. }
            | Content::Video(_)
            | Content::ToolCall(_)
            | Content::Reasoning(_)
            | Content::Refusal(_)
            | Content::Server(_)
            | Content::Signature(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Placed;

    #[test]
    fn a_target_is_passed_over_for_what_it_cannot_do() {
        let able = Capabilities::assumed(Dialect::OpenAiChat);
        let needs = Needs { images: true, tools: true, max_output: Some(9_000), ..Needs::default() };
        assert_eq!(able.lacks(&needs), None);
        assert_eq!(Capabilities { images: false, ..able }.lacks(&needs), Some(Need::Images));
        assert_eq!(Capabilities { max_output: Some(8_000), ..able }.lacks(&needs), Some(Need::MaxOutput));
        assert_eq!(Capabilities { audio: false, ..able }.lacks(&needs), None, "nobody asked for that");
    }

    #[test]
    fn what_a_request_needs_is_read_from_it() {
        let request = Request { max_output: Some(Placed::unplaced(5)), ..Request::default() };
        assert_eq!(Needs::of(&request), Needs { max_output: Some(5), ..Needs::default() });
    }
}
