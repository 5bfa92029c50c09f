# Commands that every service has. Maintained by the template: add your own to Makefile.

.DEFAULT_GOAL := help

# Another port for a service that runs beside others: make run PORT=8001
PORT ?= 8000
BIN ?= .venv/bin
# The first that runs: one on PATH may be a shim for a version that is not installed.
PYTHON3 = $(firstword $(shell for python in python3 /usr/bin/python3 python; do \
	"$$python" -c "import sys; print(sys.executable)" 2>/dev/null; done) python3)

# Gates of your own, in Makefile: `GATES = orders` makes the target `orders` one of them.
GATES ?=
# The least part of the code that the tests must reach, in per cent.
COVERAGE ?= 80
export BIN GATES COVERAGE

.PHONY: help setup lock run test lint format types migrations check ci before-commit

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## Install, make .env, migrate; again whenever dependencies changed
	$(PYTHON3) scripts/bootstrap.py

lock: ## Take the newest versions that the dependencies allow into the lock
	$(PYTHON3) scripts/bootstrap.py --upgrade

# What a checkout has not got before.
$(BIN)/python:
	@echo "$@ is missing: make setup installs it." >&2; exit 1

run test lint format types migrations: | $(BIN)/python

run: ## Serve with reload; PORT=8001 takes another port than 8000
	$(BIN)/python manage.py runserver $(PORT)

# @if task_queue == "celery"
.PHONY: worker beat
worker beat: | $(BIN)/python

worker: ## Run a Celery worker, when .env names a broker
	DJANGO_SETTINGS_MODULE={@ package_name @}.settings.development $(BIN)/celery --app {@ package_name @} worker --loglevel INFO

beat: ## Run the scheduler of periodic tasks
	DJANGO_SETTINGS_MODULE={@ package_name @}.settings.development $(BIN)/celery --app {@ package_name @} beat --loglevel INFO

# @endif
# @if deploy == "compose"
.PHONY: deploy-init deploy-check deploy rollback smoke
deploy-init: ## Write what is missing of a server's .env and secrets/; ARGS="DOMAIN=example.com TLS=…"
	$(PYTHON3) scripts/deploy.py init $(ARGS)

deploy-check: ## Check all that must be right on a server before the first deploy
	$(PYTHON3) scripts/deploy.py check

deploy: ## Build this checkout on its server, or pull IMAGE=…, and run it without a request lost
	$(PYTHON3) scripts/deploy.py deploy $(IMAGE)

rollback: ## Run the image that ran before
	$(PYTHON3) scripts/deploy.py rollback

smoke: ## Ask the running service whether all is well; URL=https://… for one elsewhere
	$(PYTHON3) scripts/deploy.py smoke $(URL)

# @endif
test: ## Run the tests
	$(BIN)/python -m pytest

lint: ## Check format and lint
	$(BIN)/ruff format --check
	$(BIN)/ruff check

format: ## Format, and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: ## Check types
	$(BIN)/mypy

migrations: ## Check that no migration is missing
	$(BIN)/python manage.py makemigrations --check --dry-run

check: ## Run the quick gates: format, lint, types, Django's own checks, missing migrations, tests
	$(PYTHON3) scripts/ci.py --quick

ci: ## Run every gate, as CI does; ARGS="tests image" chooses some
	$(PYTHON3) scripts/ci.py $(ARGS)

before-commit: format migrations ## What pre-commit runs: mend what can be mended, find missing migrations

# @if deploy == "compose"
# On the server, whose .env names the files of Compose.
.PHONY: backup restore
backup: ## Back the production database up, on its server
	docker compose run --rm backup now

restore: ## Restore a backup, on the server: make restore BACKUP=latest; FORCE=1 ends connections
	docker compose run --rm backup restore $(or $(BACKUP),$(error \
		Say which backup: make restore BACKUP=latest)) $(if $(FORCE),--force)
	docker compose run --rm --no-deps migrate python manage.py migrate --check || { \
		echo "The backup is older than the code: docker compose run --rm migrate"; exit 1; }

# @endif
.PHONY: update template-diff
update: ## Take the newest release of the template; ANSWERS="key=value" changes answers instead
	$(PYTHON3) scripts/template.py update $(ANSWERS)

template-diff: ## Show what was changed in files that the template maintains; ARGS=--exit-code for CI
	$(PYTHON3) scripts/template.py diff $(ARGS)
