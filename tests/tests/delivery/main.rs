//! `stocktake-agent run`: every report that is made is delivered once, whatever happens on the way.

mod faults;
mod house;
mod kills;
mod protocol;
mod spool;
mod upkeep;
