# Every target first makes .venv hold the pinned packages; nothing else needs to be set up.
# Arguments are passed on: make run ARGS="--port 9000", make test ARGS="tests/domain -x".
ARGS ?=
# Processes that tests run in, a file of tests in one of them.
JOBS ?= 2
# Of hostile frames.
FRAMES ?= 1_000_000
BIN := .venv/bin

.PHONY: help run test check migrate bench crash simulate mutants soak replicas fuzz fuzz-coverage hostile examples clean runtime dev

help:
	@echo "make run      serve on 127.0.0.1:8000 with an embedded PostgreSQL in .unbroken/"
	@echo "make test     every test"
	@echo "make check    what CI runs: lint, types, import contracts, tests"
	@echo "make migrate  bring the database's schema up to date"
	@echo "make bench    measure against the direct send"
	@echo "make soak     people, faults and PostgreSQL for MINUTES, with latencies and memory"
	@echo "make replicas three replicas, NATS, PostgreSQL and 300 conversations under faults for MINUTES"
	@echo "make mutants  seed bugs into copies of the tree, and see which of them are noticed"
	@echo "make simulate the whole service under seeds and faults: SEEDS=100000 FROM=0"
	@echo "make crash    kill a server KILLS times, each time at another point of a turn, on PostgreSQL"
	@echo "make fuzz     send FRAMES hostile frames through codec and sessions, in one process"
	@echo "make hostile  abuse a server over real sockets for MINUTES"
	@echo "make examples serve public LangGraph projects, as they are, from the checkouts in FOLDER"
	@echo "make clean    remove .venv and caches; .unbroken/, your data, stays"

run: runtime
	@exec $(BIN)/unbroken serve $(ARGS)

migrate: runtime
	@exec $(BIN)/unbroken migrate $(ARGS)

test: dev
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# The whole service under seeds: make simulate SEEDS=100000 FROM=5000
SEEDS ?= 2000
FROM ?= 0
simulate: dev
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) --from-seed $(FROM) --processes $(JOBS) --keep-going $(ARGS)

# People, faults and PostgreSQL for a long time: make soak MINUTES=30
MINUTES ?= 30
soak: dev
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

# Three replicas, a broker, 300 conversations and a nemesis: make replicas MINUTES=20 ARGS="--bus postgres"
replicas: dev
	@$(BIN)/python -m tests.replicas --minutes $(MINUTES) $(ARGS)

# SIGKILL at every await of a turn: make crash KILLS=2000 FROM=0
KILLS ?= 2000
crash: dev
	@$(BIN)/python -m tests.crash.points --kills $(KILLS) --from-seed $(FROM) $(ARGS)

# Bugs seeded one at a time into a copy of the tree: who notices?
mutants: dev
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: dev
	@$(BIN)/python -m benchmarks $(ARGS)

fuzz: dev
	@$(BIN)/python -m tests.hostile --frames $(FRAMES) $(ARGS)

fuzz-coverage: dev
	@$(BIN)/python -m tests.hostile.coverage --minutes $(MINUTES) $(ARGS)

hostile: dev
	@$(BIN)/python -m tests.hostile.sockets --minutes $(MINUTES) $(ARGS)

# Public LangGraph projects, unmodified: docs/examples.md says what FOLDER holds.
examples: dev
	@$(BIN)/python -m tests.examples $(or $(FOLDER),$(error FOLDER names no folder: make examples FOLDER=…, see docs/examples.md)) $(ARGS)

runtime dev:
	@requirements/install $@

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .git -prune -o \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +
