//! What is said in words where a target has no field for it.
//! Owns: the wrappers, the same for every target. Must not: depend on anything but what it wraps.
//! Read next: the writers of messages.

use super::part::{Document, DocumentSource};
use crate::json::Text;

/// Instructions in the middle of a conversation, for a target that has no such thing.
pub fn system(text: &Text<'_>) -> Text<'static> {
    Text::owned(format!("<system>\\n{}\\n</system>", text.as_written()))
}

/// The failure of a tool, for a target that has no flag for it.
pub fn failed(text: &Text<'_>) -> Text<'static> {
    let text = text.as_written();
    if text.starts_with("Error: ") {
        Text::owned(text.to_owned())
    } else {
        Text::owned(format!("Error: {text}"))
    }
}

/// A document that is text, for a target that takes only files; `None` if it is not text.
pub fn document(document: &Document<'_>) -> Option<Text<'static>> {
    let mut text = String::from("<document");
    if let Some(title) = &document.title {
        text.push_str(" title=\\\"");
        text.push_str(title.as_written());
        text.push_str("\\\"");
    }
    text.push_str(">\\n");
    match &document.source {
        DocumentSource::Text(inside) => text.push_str(inside.as_written()),
        DocumentSource::Parts(parts) => {
            for part in parts {
                let super::Content::Text { text: inside, .. } = &part.content else { return None };
                text.push_str(inside.as_written());
                text.push_str("\\n");
            }
        }
        DocumentSource::Base64 { .. } | DocumentSource::Url(_) | DocumentSource::File { .. } => return None,
    }
    text.push_str("\\n</document>");
    Some(Text::owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_written_as_json_strings_want_it() {
        assert_eq!(system(&Text::written("a")).plain(), "<system>\na\n</system>");
        assert_eq!(failed(&Text::written("no")).plain(), "Error: no");
        assert_eq!(failed(&Text::written("Error: no")).plain(), "Error: no");
        let source = DocumentSource::Text(Text::written("x"));
        let file = Document { source, title: Some(Text::written("t")), context: None, citations: None };
        assert_eq!(document(&file).expect("text").plain(), "<document title=\"t\">\nx\n</document>");
    }
}
