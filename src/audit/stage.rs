//! `Stage`: when in the life of a request an event is emitted, and sets of stages.

/// A stage of `audit.k8s.io/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The request is authenticated and about to be handled.
    RequestReceived,
    /// The status code of a long-running request is known.
    ResponseStarted,
    /// The answer is whole.
    ResponseComplete,
    /// The handler panicked.
    Panic,
}

/// Names in the order of the enum.
pub const STAGES: [Stage; 4] = [
    Stage::RequestReceived,
    Stage::ResponseStarted,
    Stage::ResponseComplete,
    Stage::Panic,
];

impl Stage {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }

    /// The stage called `name`.
    pub fn parse(name: &str) -> Option<Stage> {
        STAGES.into_iter().find(|s| s.as_str() == name)
    }

    /// The bit of this stage in a set.
    pub fn bit(self) -> u8 {
        1 << self as u8
    }
}
