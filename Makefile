# Commands for working on the template. Needs git, make, and any Python 3 with pip.

.DEFAULT_GOAL := help

# The first python3 that runs: one of pyenv's may be on PATH and fail.
PYTHON3 = $(or $(shell for python in python3 /usr/bin/python3 python; do \
	"$$python" -c "import sys; print(sys.executable)" 2>/dev/null && break; done), \
	$(error Python 3 is missing: install it (on Debian: apt-get install python3-pip)))
PYTHON_VERSIONS := 3.13 3.12 3.14

# Where the demo lives and what it listens on.
DEMO_DIR ?= demo
PORT ?= 8000
# Answers for `render` and `diff` reach hooks/preview.py as a variable of the environment.
export ANSWERS
# Test files that run side by side.
JOBS ?= 2

# What is installed here comes first, and an environment that happens to be active does not count.
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.uv/bin:$(PATH)
unexport VIRTUAL_ENV

.PHONY: help setup demo test fast linters lint format render diff bench
.PHONY: questions versions release publish-tags upstream

help: ## List the commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 14

setup: .venv/installed ## Install what the other commands need, into .venv

# uv from the package index when it is missing; Python from wherever there is one.
.venv/installed: pyproject.toml uv.lock
	uv=$$($(PYTHON3) hooks/bootstrap.py find-uv) && \
	python=$$($(PYTHON3) hooks/bootstrap.py find-python $(PYTHON_VERSIONS)) && \
	"$$uv" sync --locked --quiet --python "$$python"
	touch $@

demo: setup ## Copy the template with every default, and serve the copy until Ctrl-C
	exec $(PYTHON3) hooks/demo.py "$(DEMO_DIR)" $(PORT)

test: setup ## Run every test; ARGS go to pytest
	pytest --numprocesses=$(JOBS) $(ARGS)

fast: setup ## Run the tests that only render: every variant, in about three minutes
	pytest --numprocesses=$(JOBS) -m "not slow" $(ARGS)

linters: tests/linters/node_modules/.package-lock.json ## Install the linters that come from npm, for the tests

tests/linters/node_modules/.package-lock.json: tests/linters/package-lock.json
	npm ci --prefix tests/linters --ignore-scripts --no-audit --no-fund

lint: setup ## Check format, lint, types, and that the pins of one thing are equal
	ruff format --check
	ruff check
	mypy
	python hooks/versions.py check

format: setup ## Format, and mend what can be mended
	ruff check --fix
	ruff format

render: setup ## Render one variant into rendered/: make render ANSWERS="broker=rabbitmq license=MIT"
	python hooks/preview.py render

diff: setup ## Show what the work tree changes in a project: make diff BASE=HEAD ANSWERS="broker=rabbitmq"
	python hooks/preview.py diff "$(BASE)"

bench: setup ## Print what copying and serving cost, as ratios within one run; needs wrk
	python bench/run.py $(ARGS)

versions: setup ## Raise the pins to what the package index has, and report what is held back
	python hooks/versions.py refresh

release: setup ## Cut a release on a clean tree: make release VERSION=0.2.0
	python hooks/release.py cut "$(VERSION)"

publish-tags: setup ## Push the git tags that REMOTE (origin) has not, from releases.toml
	python hooks/release.py publish-tags $(REMOTE)

questions: setup ## Write the table of questions into README.md, from copier.yml
	python hooks/questions.py

upstream: setup ## Print a service's edit as a patch: make upstream FILE=../my-service/Dockerfile
	@python hooks/upstream.py "$(FILE)"
