# pgrescue. `make` alone explains the targets; each installs what it needs and says so first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lab lint unit molecule bench bench-failover bench-fleet bench-recovery campaign campaign-archive campaign-watch clean venv tools
export CONTAINERS_CONF := $(CURDIR)/lab/containers.conf
SCENARIOS = MOLECULE_GLOB='molecule/*/molecule.yml' molecule test --report
# What the gate has time for, one of each kind; `make molecule` runs all.
GATE = default refuses_and_changes_nothing goes_on_after_kill_9 fails_over_alone takes_a_failover_back recovers_lost_rows \
       repairs_corruption watches_and_tells
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:  ## explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo: lab  ## destroy the lab's database under load, recover it, show the verdict and the report
	pgrescue drill complete_loss

lab: venv tools  ## boot the lab and protect its service
	pgrescue lab up

test:  ## lint while the lab boots, the main scenarios on it, unit tests; what CI runs
	$(MAKE) --jobs=2 lint lab
	$(SCENARIOS) $(addprefix --scenario-name=,$(GATE))
	$(MAKE) unit

lint: venv  ## ansible-lint (production), ruff, mypy
	ruff check .
	ruff format --check .
	mypy
	# groups such as current_primary exist only while a runbook runs; for lint alone an unknown one may pass
	ANSIBLE_HOST_PATTERN_MISMATCH=warning ansible-lint --offline -q

unit: venv tools  ## unit and property tests; modules run against a real PostgreSQL started by the test
	@lab/bootstrap chromium fonts-dejavu-core prometheus prometheus-alertmanager
	@tests/fetch_postgres
	@tests/fetch_clients
	@tests/fetch_awx
	pytest -n auto --dist loadfile

molecule: lab  ## every scenario, one per promise, on the lab's hosts (an hour)
	$(SCENARIOS) --all

bench-recovery: lab  ## what the orchestration costs: a recovery of 3 GB against the bare engine (about 15 minutes)
	python bench/recovery.py

bench-failover: lab  ## what an unattended failover costs against the bare steps of one (20 minutes)
	python bench/failover.py

bench: venv tools  ## what backups, dumps, a synchronous standby, the witness and ten years of records cost, without the lab
	python bench/backup_and_restore.py
	python bench/synchronous.py
	python bench/witness_cost.py
	python bench/ledger.py

bench-fleet: venv tools  ## what one look costs for each of 10, 100 and 1,000 services, simulated on this machine (15 minutes)
	python bench/fleet.py

campaign: lab  ## each drill five times at random instants, the controller killed at every step, twenty partitions (5 hours; goes on where it stopped)
	for drill in complete_loss switchover failover rollback corruption partial_loss "region_failure failback"; do python tests/campaigns/drills.py $$drill; done
	python tests/campaigns/partitions.py && pgrescue lab up
	for drill in complete_loss switchover failover rollback corruption partial_loss region_failure failback; do python tests/campaigns/kill_at_every_step.py $$drill --report; done
	python tests/campaigns/regression_database.py

campaign-watch: lab  ## what the watch concludes, how fast it pages, when it and the alerts are quiet, what its predictions are worth (3 hours)
	python tests/campaigns/situations.py --report
	python tests/campaigns/pages.py --report
	python tests/campaigns/quiet.py --report
	python tests/campaigns/health.py --report
	python tests/campaigns/storm.py
	python tests/campaigns/predictions.py --report

campaign-archive: venv tools  ## 10,000 segments archived while archivers are killed, without the lab (18 minutes)
	python tests/campaigns/archive_contract.py

clean:  ## stop and remove everything the lab started, and its data; records in runs/ stay
	@if [ -x .venv/bin/pgrescue ]; then .venv/bin/pgrescue lab down; else echo "Nothing to clean: .venv is not there."; fi

venv:
	@python/bootstrap

tools:
	@lab/bootstrap
