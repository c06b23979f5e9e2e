//! The `polyvirt` command, for tests that run it on real guests.

use std::process::ExitCode;

fn main() -> ExitCode {
    polyvirt_cli::main()
}
