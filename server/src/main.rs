//! The inventory server.

fn main() -> std::process::ExitCode {
    stocktake_server::main()
}
