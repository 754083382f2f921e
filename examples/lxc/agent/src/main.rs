//! The agent with one more collector.

use example_collector_lxc as _;

fn main() -> std::process::ExitCode {
    stocktake_agent::main()
}
