//! What is known of models, compiled for lookup.
//!
//! Owns: finding a model's entry by its name at the backend, and what an entry says of cost and ability.
//! Must not: know a model that the operator did not name.
//! Read next: [`crate::fit`], which asks what a model can do; [`crate::settle`], what it costs.

use std::collections::HashMap;

use ringway_contract::MicroDollars;
use ringway_contract::snapshot::{self, Price, Reasoning};
use ringway_dialect::dialect::Dialect;
use ringway_dialect::listing;
use ringway_dialect::model::{Capabilities, ReasoningForm};

use super::glob::Glob;

/// Entries in the operator's order: of several that fit a name the first counts.
#[derive(Debug)]
pub struct Catalogue {
    models: Box<[Profile]>,
    /// Names without wildcard, with their places.
    literal: HashMap<Box<str>, u32>,
    /// Names with one, with their places, in order.
    globs: Box<[(u32, Glob)]>,
    restricts: bool,
}

/// What is known of a model.
#[derive(Debug)]
pub struct Profile {
    can: snapshot::Capabilities,
    output_tokens_max: Option<u64>,
    context_tokens: Option<u64>,
    display_name: Option<Box<str>>,
    owner: Option<Box<str>>,
    price: Option<Price>,
}

/// Tokens by what they cost; no token is in two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Of the prompt, computed and not kept.
    pub input: u64,
    /// Of the prompt, found in a cache.
    pub cache_read: u64,
    /// Of the prompt, written to a cache.
    pub cache_write: u64,
    /// Of the answer, thoughts included.
    pub output: u64,
}

impl Catalogue {
    /// The catalogue of these entries; none if there are none.
    pub(super) fn new(models: &[snapshot::Model]) -> Option<Self> {
        let mut literal = HashMap::new();
        let mut globs = Vec::new();
        for (place, model) in (0..).zip(models) {
            let glob = Glob::new(&model.name);
            if glob.literal().is_some() {
                literal.entry(model.name.as_str().into()).or_insert(place);
            } else {
                globs.push((place, glob));
            }
        }
        let models: Box<[Profile]> = models.iter().map(Profile::new).collect();
        let restricts = models.iter().any(Profile::restricts);
        (!models.is_empty()).then(|| Self { models, literal, globs: globs.into(), restricts })
    }

    /// The entry of the model with this name.
    pub fn find(&self, name: &[u8]) -> Option<&Profile> {
        let literal = std::str::from_utf8(name).ok().and_then(|name| self.literal.get(name)).copied();
        let before = literal.unwrap_or(u32::MAX);
        let mut globs = self.globs.iter().take_while(|(place, _)| *place < before);
        let place = globs.find(|(_, glob)| glob.matches(name)).map(|(place, _)| *place).or(literal)?;
        Some(&self.models[place as usize])
    }

    /// Whether some model cannot do what others can: else no request is read for it.
    pub fn restricts(&self) -> bool {
        self.restricts
    }
}

impl Profile {
    fn new(model: &snapshot::Model) -> Self {
        Self {
            can: model.capabilities,
            output_tokens_max: model.output_tokens_max,
            context_tokens: model.context_tokens,
            display_name: model.display_name.as_deref().map(Into::into),
            owner: model.owner.as_deref().map(Into::into),
            price: model.price,
        }
    }

    /// Whether it cannot do something that may be asked for.
    pub fn restricts(&self) -> bool {
        let can = &self.can;
        let flags = [can.images, can.image_urls, can.audio, can.documents, can.tools, can.json_schema];
        flags.contains(&Some(false))
            || can.reasoning == Some(Reasoning::None)
            || self.output_tokens_max.is_some()
    }

    /// What it can do, at a backend of this dialect.
    pub fn capabilities(&self, dialect: Dialect) -> Capabilities {
        let assumed = Capabilities::assumed(dialect);
        let can = &self.can;
        Capabilities {
            images: can.images.unwrap_or(assumed.images),
            image_urls: can.image_urls.or(can.images).unwrap_or(assumed.image_urls),
            audio: can.audio.unwrap_or(assumed.audio),
            documents: can.documents.unwrap_or(assumed.documents),
            tools: can.tools.unwrap_or(assumed.tools),
            json_schema: can.json_schema.unwrap_or(assumed.json_schema),
            reasoning: match can.reasoning {
                None => assumed.reasoning,
                Some(Reasoning::None) => ReasoningForm::None,
                Some(Reasoning::Effort) => ReasoningForm::Effort,
                Some(Reasoning::Budget) => {
                    ReasoningForm::Budget { cap: self.output_tokens_max.unwrap_or(REASONING_TOKENS_ASSUMED) }
                }
                Some(Reasoning::Adaptive) => ReasoningForm::Adaptive,
            },
            max_output: self.output_tokens_max.or(assumed.max_output),
            ..assumed
        }
    }

    /// What these tokens cost, rounded up once; none where nobody knows the price.
    pub fn cost(&self, counted: &Counted) -> Option<MicroDollars> {
        let price = self.price?;
        let parts = [
            (counted.input, price.input),
            (counted.cache_read, price.cache_read.unwrap_or(price.input)),
            (counted.cache_write, price.cache_write.unwrap_or(price.input)),
            (counted.output, price.output),
        ];
        // An upstream's count must not wrap.
        let exact: u128 = parts.iter().map(|(tokens, per)| u128::from(*tokens) * u128::from(per.get())).sum();
        u64::try_from(exact.div_ceil(1_000_000)).ok().map(MicroDollars::new)
    }

    /// How lists show it under this name.
    pub fn listed(known: Option<&Self>, id: &str) -> listing::Model {
        let text = |text: Option<&str>, otherwise: &str| text.unwrap_or(otherwise).to_owned();
        listing::Model {
            id: id.to_owned(),
            display_name: text(known.and_then(|known| known.display_name.as_deref()), ""),
            owner: text(known.and_then(|known| known.owner.as_deref()), "ringway"),
            created: 0, // when a model was made is not known here, and the same table always gives the same bytes
            max_input: known.and_then(|known| known.context_tokens),
            max_output: known.and_then(|known| known.output_tokens_max),
        }
    }
}

/// Tokens of thought that a model is asked for at most whose length nobody told.
const REASONING_TOKENS_ASSUMED: u64 = 64_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalogue(entries: serde_json::Value) -> Catalogue {
        Catalogue::new(&serde_json::from_value::<Vec<snapshot::Model>>(entries).expect("models"))
            .expect("some")
    }

    #[test]
    fn of_several_entries_that_fit_a_name_the_first_counts() {
        let models = catalogue(json!([
            {"name": "gpt-5-mini", "owner": "exact"},
            {"name": "gpt-5*", "owner": "glob"},
            {"name": "gpt-5-nano", "owner": "shadowed"},
        ]));
        let owner = |name: &str| models.find(name.as_bytes()).and_then(|known| known.owner.as_deref());
        assert_eq!(owner("gpt-5-mini"), Some("exact"));
        assert_eq!(owner("gpt-5"), Some("glob"));
        assert_eq!(owner("gpt-5-nano"), Some("glob"));
        assert_eq!(owner("gpt-4"), None);
        assert!(!models.restricts() && Catalogue::new(&[]).is_none());
    }

    #[test]
    fn a_cost_is_rounded_up_once_and_never_wraps() {
        let models = catalogue(json!([{"name": "m", "price":
            {"input": 1_250_000, "output": 10_000_000, "cache_read": 125_000}}]));
        let known = models.find(b"m").expect("known");
        let counted = Counted { input: 100, cache_read: 1_000, cache_write: 10, output: 20 };
        // 100 and 10 at 1.25, 1,000 at 0.125, 20 at 10 dollars for a million: 462.5 millionths.
        assert_eq!(known.cost(&counted), Some(MicroDollars::new(463)));
        assert_eq!(known.cost(&Counted { output: 1, ..Counted::default() }), Some(MicroDollars::new(10)));
        assert_eq!(known.cost(&Counted { output: u64::MAX, input: u64::MAX, ..counted }), None);
    }

    #[test]
    fn what_is_not_said_of_a_model_is_assumed_of_its_dialect() {
        let models = catalogue(json!([{"name": "blind", "capabilities": {"images": false}}]));
        let blind = models.find(b"blind").expect("known");
        let can = blind.capabilities(Dialect::Gemini);
        assert!(models.restricts() && !can.images && !can.image_urls && can.tools);
        assert_eq!(can.reasoning, Capabilities::assumed(Dialect::Gemini).reasoning);
    }
}
