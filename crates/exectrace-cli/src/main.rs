//! `exectrace`: see the library beside it.

fn main() -> std::process::ExitCode {
    exectrace_cli::main()
}
