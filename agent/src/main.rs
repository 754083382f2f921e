//! The agent with Stocktake's own collectors.

fn main() -> std::process::ExitCode {
    stocktake_agent::main()
}
