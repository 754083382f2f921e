//! What stands below the help of commands: examples, exit codes.

pub(super) const AFTER_HELP: &str = "\
Exit status:
   0  everything that was asked for was seen
   1  something could not be seen; what was is printed
   2  wrong command line
  69  no runtime could be reached
  70  internal error
  78  wrong configuration

Data goes to stdout, everything else to stderr.";

pub(super) const WATCH_AFTER_HELP: &str = "\
Examples:
  stocktake-agent watch                        what starts, changes and ends from now on
  stocktake-agent watch --collector docker     the same of one runtime
  stocktake-agent watch --format ndjson        for programs: docs/formats.md has the lines
  stocktake-agent watch --interval 10s         look more often where nothing tells what changes

Ends with exit status 0 at SIGINT (Ctrl-C) and SIGTERM, and when nobody reads any more.";

pub(super) const SUBMIT_AFTER_HELP: &str = "\
Examples:
  stocktake-agent collect --output host.stk              on a machine without a network
  stocktake-agent submit host.stk                        on one that reaches the server
  ssh host stocktake-agent collect --output - | stocktake-agent submit -

What is delivered twice counts once. Ends with exit status 1 if a file could not be read, or was not delivered to every target.";

pub(super) const RUN_AFTER_HELP: &str = "\
What is not delivered yet waits in the spool, on disk, and is delivered later, also by the next run.

SIGHUP, and a change of the file, make the agent read its configuration again; one that is not valid is complained of, and
the former one stays in force. SIGTERM and SIGINT make it report what it knows, try to deliver what waits, and end with exit
status 0; a second one ends it at once.";

pub(super) const STATUS_AFTER_HELP: &str = "\
Exit status:
   0  the agent is ready: something is seen of every runtime, and reports can be kept
   1  it is not; what is printed says why
      (with --alive: 0 if it is at work, ready or not, and 1 if not)
  69  no agent answers
  78  the configuration cannot be read";

pub(super) const DELIVERED_AFTER_HELP: &str = "\
Exit status:
   0  every target has taken a report
  69  one has not in time, or nobody answers; what is printed says which and why";

pub(super) const IMPORT_AFTER_HELP: &str = "\
Examples:
  stocktake-agent config import .kai.yaml > agent.toml
  stocktake-agent check --config agent.toml

What is not converted is told on stderr, with why and what to do.

Exit status:
   0  every key was converted or told
   1  the same, and some are no keys of kai or k8s-inventory
  78  what is in the file is not valid, or would become what is not";
