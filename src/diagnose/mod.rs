//! Explanations: why a request was refused.
