//! The `verbatim` program: parse, dispatch, exit code; nothing else.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    verbatim::cli::main()
}
