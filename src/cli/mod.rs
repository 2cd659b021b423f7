//! The command line: one file per subcommand.

/// Parses the arguments, runs the subcommand, answers the exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
