# Commands that every service has. Maintained by the template: add your own to Makefile.

.DEFAULT_GOAL := help

# Five services run side by side with five ports: make run PORT=8001
PORT ?= 8000
BIN := .venv/bin
# The first that runs: one on PATH may be a shim for a version that is not installed.
PYTHON3 = $(firstword $(shell for python in python3 /usr/bin/python3 python; do \
	"$$python" -c "import sys; print(sys.executable)" 2>/dev/null; done) python3)

.PHONY: help setup lock run test lint format types migrations check before-commit

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## Install, make .env, migrate; again whenever dependencies changed
	$(PYTHON3) scripts/bootstrap.py

lock: ## Take the newest versions that the dependencies allow into the lock
	$(PYTHON3) scripts/bootstrap.py --upgrade

run: ## Serve with reload; PORT=8001 takes another port than 8000
	$(BIN)/python manage.py runserver $(PORT)

# @if task_queue == "celery"
.PHONY: worker beat
worker: ## Run a Celery worker, when .env names a broker
	DJANGO_SETTINGS_MODULE={@ package_name @}.settings.development $(BIN)/celery --app {@ package_name @} worker --loglevel INFO

beat: ## Run the scheduler of periodic tasks
	DJANGO_SETTINGS_MODULE={@ package_name @}.settings.development $(BIN)/celery --app {@ package_name @} beat --loglevel INFO

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

check: lint types migrations ## Run every check: lint, types, missing migrations, Django's own, tests
	$(BIN)/python manage.py check
	$(BIN)/python -m pytest

before-commit: format migrations ## What pre-commit runs: mend what can be mended, find missing migrations

.PHONY: update template-diff
update: ## Take the newest release of the template; ANSWERS="key=value" changes answers instead
	$(PYTHON3) scripts/template.py update $(ANSWERS:%=--data %)

template-diff: ## Show what was changed in files that the template maintains; ARGS=--exit-code for CI
	$(PYTHON3) scripts/template.py diff $(ARGS)
