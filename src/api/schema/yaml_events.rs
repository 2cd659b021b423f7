//! What libyaml's parser sees in a text, for all that read YAML.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use libyaml_safer::{Error, Event, Parser};

/// Why the events of a text end early.
#[derive(Debug)]
pub enum Problem {
    /// It is not YAML.
    Syntax(Error),
    /// Something sticks to a tag.
    UnfinishedTag,
}

/// The events of a text, one after the other.
pub struct Events<'r>(Parser<&'r mut &'r [u8]>);

impl<'r> Events<'r> {
    /// Reads `input`, which [`ended`] has made.
    pub fn of(input: &'r mut &'r [u8]) -> Self {
        let mut parser = Parser::new();
        parser.set_input_string(input);
        Events(parser)
    }

    /// The next event. Nothing is to be asked behind a problem.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn read(&mut self) -> Result<Event, Problem> {
        // libyaml-safer has a panic for a comma right behind a tag, where libyaml has an error.
        let parsed = catch_unwind(AssertUnwindSafe(|| self.0.parse()));
        parsed
            .map_err(|_| Problem::UnfinishedTag)?
            .map_err(Problem::Syntax)
    }
}

/// The text with a line break at its end: the scanner panics at a block scalar that has none.
pub fn ended(text: &[u8]) -> Cow<'_, [u8]> {
    match text.last() {
        None | Some(b'\n') => text.into(),
        Some(_) => [text, b"\n"].concat().into(),
    }
}
