//! The states of every reader and writer of streams, and what they promise.
//!
//! Owns: a walk over the tables, and a print of each for whoever reviews a change.
//! Must not: read a stream.
//! Read next: `canonical.rs`.

use ringway_dialect::anthropic::stream_in as messages;
use ringway_dialect::{anthropic, chat};

/// Prints a table, and holds it to what all of them have in common: from every state that is not the end some way
/// leads there, and out of an end leads none.
macro_rules! walk {
    ($test:ident, $module:path, ends: $($end:ident)|+, failed: $failure:ident) => {
        #[test]
        fn $test() {
            use $module::{On, State, step};
            for from in State::ALL {
                for on in On::ALL {
                    println!("{from:?} + {on:?} -> {:?}", step(from, on));
                }
                let over = matches!(from, $(State::$end)|+);
                assert!(!over || On::ALL.iter().all(|on| step(from, *on).is_none()), "{from:?} is an end");
                assert!(over || step(from, On::$failure) == Some(State::Failed), "{from:?} may fail");
            }
            let mut reached = vec![State::default()];
            while let Some(next) = reached.iter().find_map(|from| {
                On::ALL.iter().filter_map(|on| step(*from, *on)).find(|to| !reached.contains(to))
            }) {
                reached.push(next);
            }
            assert_eq!(reached.len(), State::ALL.len(), "every state is reached");
        }
    };
}

walk!(a_stream_of_chat_completions_is_read_to_an_end, chat::stream_in, ends: Ended | Failed, failed: Failure);
walk!(a_stream_of_messages_is_read_to_an_end, anthropic::stream_in, ends: Ended | Failed, failed: Failure);
walk!(a_stream_of_chat_completions_is_written_to_an_end, chat::stream_out, ends: Ended | Failed, failed: Error);
walk!(a_stream_of_messages_is_written_to_an_end, anthropic::stream_out, ends: Ended | Failed, failed: Error);

#[test]
fn the_end_of_the_body_is_a_success_only_behind_a_reason() {
    use chat::stream_in::{On, State, step};
    for from in State::ALL {
        let success = step(from, On::CleanEnd) == Some(State::Ended);
        assert_eq!(success, from == State::Finished, "{from:?}");
        assert_ne!(step(from, On::BrokenEnd), Some(State::Ended), "{from:?}");
    }
    for from in messages::State::ALL {
        let success = messages::step(from, messages::On::CleanEnd) == Some(messages::State::Ended);
        assert_eq!(success, from == messages::State::Stopped, "{from:?}");
        assert_ne!(messages::step(from, messages::On::BrokenEnd), Some(messages::State::Ended), "{from:?}");
    }
}
