# `make sweep` and `make test` set everything up by themselves, in .venv; set-up runs again when its inputs change.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/ready
EXPERIMENT ?= grid_2x2x2

.PHONY: setup sweep test test-all test-slow test-older-processor test-gpu lint format browser screenshot clean

setup: $(READY)

$(READY): setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/python"; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
		{ $(PYTHON) -m venv --clear --without-pip .venv && $(PYTHON) -m pip --python .venv install --quiet pip; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

sweep: $(READY)
	$(BIN)/python -m sweep.run $(EXPERIMENT)

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-all: $(READY)
	$(BIN)/python -m pytest -m "not gpu"

# What `make test` leaves out.
test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not gpu"

# What depends on the processor, as on one without AVX-512: the other branch of the same tests.
test-older-processor: $(READY)
	ATEN_CPU_CAPABILITY=avx2 PACKSWEEP_WITHOUT_AVX512=1 $(BIN)/python -m pytest -m "processor and not gpu"

# On a machine with an NVIDIA GPU.
test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What tests/analysis/render/test_page_in_browser.py needs: Debian's Chromium with its driver, and axe-core where npm is.
browser: $(READY)
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver; }
	@if command -v npm >/dev/null; then npm install --silent --no-save --prefix .venv/browser axe-core@4.14.1; \
	else echo "npm is absent: the accessibility check will be skipped"; fi

# The picture in the README: the page of the sweep that `make sweep` leaves, by the Chromium of `make browser`.
screenshot:
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1120,1000 \
		--user-data-dir=.venv/chromium --screenshot=docs/page.png file://$(CURDIR)/runs/$(EXPERIMENT)/report/index.html

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
