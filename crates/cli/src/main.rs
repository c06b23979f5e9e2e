//! The `polyvirt` command. All of it is in the library, so that `batch` runs commands as this does.

use std::process::ExitCode;

fn main() -> ExitCode {
    polyvirt_cli::main()
}
