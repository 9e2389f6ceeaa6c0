//! Who hosts models that others make, and how such a host wants to be asked.
//!
//! Owns: what its paths are made of, and keys that sign instead of being sent.
//! Must not: know an address; that is the endpoint's.
//! Read next: [`crate::snapshot`].

use serde::{Deserialize, Serialize};

/// A host of models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Hosting {
    /// Azure `OpenAI`.
    Azure {
        /// The version in the query. That of a day goes with a path for each deployment; with a word (`preview`), or none,
        /// the paths are those of `/openai/v1`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api_version: Option<String>,
        /// The deployment, whatever the model is called; none: as the model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deployment: Option<String>,
    },
    /// Google Vertex AI: models of Google's and of Anthropic's.
    Vertex {
        /// Whose project.
        project: String,
        /// Where: `us-central1`, `global`.
        location: String,
    },
    /// Amazon Bedrock: models of Anthropic's.
    Bedrock {
        /// Where: `us-east-1`.
        region: String,
        /// What requests are signed with; none: the backend's credential is sent, an API key of Bedrock's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<AwsKey>,
    },
}

/// A key of Amazon's. Its secrets never show in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKey {
    /// Which key; sent.
    pub id: String,
    /// Never sent.
    pub secret: String,
    /// Sent with keys that last for a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
}

impl std::fmt::Debug for AwsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsKey").field("id", &self.id).field("secret", &"redacted").finish_non_exhaustive()
    }
}
