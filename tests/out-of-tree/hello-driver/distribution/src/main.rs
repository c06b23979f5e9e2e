//! The `polyvirt` command with one more driver, from outside the tree.
//!
//! A driver that is only a dependency registers nothing: the program has to mention it.

use std::process::ExitCode;

use hello_driver as _;

fn main() -> ExitCode {
    polyvirt_cli::main()
}
