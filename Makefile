# The commands that the README names. Each says what it does and stays a thin layer over cargo and the scripts.
.DEFAULT_GOAL := help
.PHONY: help build server release images packages setup lint deny unit test demo bed-up bed-down bench-collect bench-kubernetes bench-agent bench-server bench-server-questions bench-notify docs

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup:  ## install what building and testing need (root and apt)
	@tests/setup

build: setup  ## the agent, for development
	cargo build --package stocktake-agent

server: setup  ## the inventory server, for development
	cargo build --package stocktake-server

release: setup  ## the agent as it is shipped: target/release/stocktake-agent
	cargo build --release --package stocktake-agent

images:  ## OCI layouts of agent and server, with their bills of materials: target/images
	@deploy/images/build

packages:  ## Debian packages of agent, server and command line: target/packages
	@deploy/debian/build

lint: setup  ## formatting and clippy, no warning allowed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings

deny: setup  ## licences, banned and duplicate dependencies
	@tests/deny

unit: setup  ## tests that need no daemon
	cargo test --features stocktake-core/conformance

test:  ## everything a change must pass, real daemons included
	@tests/run

demo:  ## build, start the test bed if no runtime is reachable, and show what runs
	@tests/demo

bed-up:  ## start Docker, containerd, Podman and Kubernetes with known content
	@tests/bed/bed up

bed-down:  ## stop them and remove their data
	@tests/bed/bed down

bench-collect: release  ## collect beside `docker ps` and `ctr containers list`, on 300 containers
	@tests/bench/collect-300

bench-kubernetes: setup  ## reading and watching 10,000 and 50,000 pods of a real API server, beside curl
	@tests/bench/kubernetes

bench-server: setup  ## what the server costs: a full report, one with a hundredth changed, and unchanged ones, on SQLite and PostgreSQL
	@tests/bench/server

bench-server-questions: setup  ## what questions about a million containers cost (DATABASE=postgres://… for PostgreSQL)
	@tests/bench/server-questions

bench-notify: setup  ## how soon a webhook tells of a container that was started, and what 10,000 subscriptions cost reports
	@tests/bench/notify

bench-agent: setup  ## what a running agent costs: 100 containers on Docker and containerd (`make bed-up`), 10,000 pods that churn
	@tests/bench/agent

docs:  ## write the generated documents anew
	cargo build --quiet --workspace --bins --tests
	STOCKTAKE_AGENT=$$PWD/target/debug/stocktake-agent STOCKTAKE_SERVER=$$PWD/target/debug/stocktake-server \
	STOCKTAKE_CLI=$$PWD/target/debug/stocktake STOCKTAKE_UPDATE_DOCS=1 \
	cargo test --quiet --workspace --test docs
