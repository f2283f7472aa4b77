# Thin over meson: the programs are build/edgelora and build/edgelora-bench. `make help` lists the targets.

PREFIX ?= /usr/local
HOST ?= 127.0.0.1
PORT ?= 8080
MODEL ?=
BASE ?=
ADAPTERS ?=
ROUTER ?=
ARGS ?=
FUZZ_SECONDS ?= 600

# A folder without build.ninja was never set up, or its setup was interrupted.
configure = test -f build/build.ninja || { rm -rf build/meson-private; meson setup build --buildtype=release; }

.DEFAULT_GOAL := build
.PHONY: build serve model setup test asan tsan faults fuzz bench-peer bench-compare bench-adapters bench-router report paper soak soak-long fuzz-long crowd manual docs dist deb image install fmt clean help

build:
	@tools/setup --check build
	@$(configure)
	@ninja -C build

serve:
	@tools/setup serve
	@$(configure)
	@ninja -C build --quiet edgelora
	@set -e; model='$(MODEL)'; router='$(ROUTER)'; adapters='$(ADAPTERS)'; name=; \
	case "$$model" in \
		'' | smollm2) \
			model=$$(tools/fetch-model); name='--model-name=SmolLM2-135M-Instruct'; \
			router=$${router:-routers/demo.gguf}; adapters=$${adapters:-adapters} ;; \
		*/* | *.gguf) ;; \
		*) \
			name=--model-name=$$model; \
			[ -n "$$adapters" ] || [ ! -d "adapters-for/$$model" ] || adapters=adapters-for/$$model; \
			model=$$(tools/fetch-model "$$model") ;; \
	esac; \
	exec build/edgelora serve -m "$$model" $$name $${router:+--router "$$router"} $${adapters:+--adapters "$$adapters"} \
		--host '$(HOST)' --port '$(PORT)' --examples $(ARGS)

model:
	@tools/setup serve
	@tools/fetch-model $(MODEL)

setup:
	@tools/setup test

test:
	@tools/test

asan:
	@tools/test asan

tsan:
	@tools/test tsan

faults:
	@tools/test faults

fuzz:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/test fuzz

# They measure: nothing else should be running.
bench-peer: build
	@tools/peer/bench.py $(ARGS)

bench-compare:
	@tools/setup --check build
	@tools/bench-compare $(if $(BASE),--base '$(BASE)') $(ARGS)

bench-adapters: build
	@tools/bench-adapters $(ARGS)

bench-router: build
	@tools/bench-router $(ARGS)

report:
	@tools/report $(ARGS)

paper: build
	@tools/paper/run.py $(ARGS)

soak: build
	@tools/soak.py $(ARGS)

crowd: build
	@tools/crowd $(ARGS)

# After a change of options or of their help.
manual: build
	@tools/manual/make.py

# Of the public header.
docs:
	@tools/setup docs
	@mkdir -p build
	@doxygen tools/Doxyfile

dist:
	@tools/dist

# Takes a compilation of its own.
deb:
	@tools/setup deb
	@tools/deb

image:
	@tools/setup image
	@tools/image

soak-long: build
	@tools/soak.py --requests 1000000 --replace 0.5 $(ARGS)

fuzz-long:
	@tools/setup --check build
	@test -f build/fuzz/build.ninja || CC=clang meson setup build/fuzz -Doptimization=1 -Ddebug=true -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C build/fuzz fuzzers-long
	@tests/fuzz/long.py build/fuzz $(ARGS)

# DESTDIR=... is heeded too.
install: build
	@meson configure build -Dprefix='$(abspath $(PREFIX))'
	@meson install -C build

fmt:
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

clean:
	@rm -rf build

help:
	@echo "make            build build/edgelora, build/edgelora-bench and build/libedgelora (release)"
	@echo "make serve      install what is missing, build, fetch the default model, serve it with the demo adapters"
	@echo "                PORT=$(PORT) HOST=$(HOST) MODEL=NAME or a file ADAPTERS=FOLDER ROUTER=FILE.gguf ARGS='--slots 32'"
	@echo "make test       install what the tests need, then run all of them: unit, program, server, install, Arm, fuzzers, sanitizers"
	@echo "make asan       the unit, program and server tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make tsan       the tests of threads, a short soak among them, under ThreadSanitizer; not part of make test"
	@echo "make faults     every allocation and every call to the system fails in turn, some minutes; some of them do in make test"
	@echo "make fuzz       the fuzzers for FUZZ_SECONDS=$(FUZZ_SECONDS) each"
	@echo "make bench-peer    our speed beside llama.cpp's, about 20 minutes on two cores; ARGS='--quick', ARGS=--help"
	@echo "make bench-compare our speed beside that of another revision: BASE=main~5; ARGS=--help"
	@echo "make bench-router  what choosing adapters costs and gives, about 8 minutes; ARGS='--parts load', ARGS=--help"
	@echo "make bench-adapters  10 to 10,000 adapters in memory for 50, beside llama-server, about 8 minutes; ARGS='--quick', ARGS=--help"
	@echo "make report        a page of tables and charts from runs of edgelora-bench load: ARGS='run.json -o report.html', ARGS=--help"
	@echo "make paper         the EdgeLoRA paper's evaluation beside llama-server, about 45 minutes; writes docs/performance/evaluation.md; FULL=1, ARGS=--help"
	@echo "make crowd      what a client's requests cost beside a thousand slow clients, giants, long prompts and others; ARGS=--help"
	@echo "make soak       100,000 requests over 1,000 adapters in memory for 20, about 2 minutes; ARGS=--help"
	@echo "make manual     manual pages and completions anew, of the tables behind --help"
	@echo "make docs       pages of the public header, build/docs/html/index.html"
	@echo "make dist       the source of this commit as an archive, build/dist/edgelora-VERSION.tar.gz"
	@echo "make deb        Debian packages of this commit, build/deb/*.deb, checked by lintian"
	@echo "make image      the container image, built and tried without a daemon; as root"
	@echo "make soak-long  1,000,000 of them, while adapters' files are replaced, about 20 minutes; ARGS=--help"
	@echo "make fuzz-long  the fuzzers in turn, 10,000,000 inputs, kept in ~/.cache/edgelora/fuzz; ARGS='--inputs 1000', ARGS=--help"
	@echo "make install    PREFIX=$(PREFIX); DESTDIR is heeded"
	@echo "make model      fetch a model into the cache and print its path: MODEL=NAME, by default smollm2; tools/fetch-model --list"
	@echo "make setup      install what building, serving and testing need, through apt"
	@echo "make fmt        clang-format every C file"
	@echo "make clean      remove build/"
