//! The inventory server.

fn main() {}
