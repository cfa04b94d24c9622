# The face of leukoshard. `make` alone runs the whole line on synthetic cells; `make help` lists the rest.
# Options, on any target that takes them: DATA NAME SPLIT SHARDS ARTIFACTS ARCH EPOCHS SIZE SEED WORKERS DEVICE THREADS IMAGES,
# and FLAGS="--any-flag of the command". FORCE=1 replaces a build or a run that is there.
PYTHON ?= python3
SHARDS ?= shards
ARTIFACTS ?= artifacts
ARCH ?= resnet18

# An empty name, of a shell's variable that is not set, say, would be this folder, and ARTIFACTS/cache one beside the system's.
ifeq (,$(and $(strip $(SHARDS)),$(strip $(ARTIFACTS))))
$(error SHARDS and ARTIFACTS are names of folders: one of them is empty)
endif

# A name reaches what is written, so only the one that a command gives counts: WSL sets NAME to the computer's. It is text: make
# reads no $ in it, and the shell, which gets it in single quotes, neither a quote nor a backtick.
ifneq (,$(findstring environment,$(origin NAME)))
override NAME :=
else
override NAME := $(value NAME)
endif
quoted = '$(subst ','\'',$(1))'

# Each step takes all cores by itself, also after make -j: of trainings side by side each would draw the comparison, and the one
# that read fewer networks might be the last.
.NOTPARALLEL:

PY := .venv/bin/python
SETUP := .venv/.installed
# .venv's Python runs, is new enough, and is the one that this command names, if it names one. Good is one that has its pip
# too, as it has not after an upgrade of Python; then what else is in .venv stays.
MINOR := -c 'import sys; print(sys.version_info[:2])'
RUNS = $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  $(if $(filter command,$(origin PYTHON)), && test "`$(PY) $(MINOR)`" = "`$(PYTHON) $(MINOR)`")
GOOD = $(RUNS) && $(PY) -c 'import pip' 2>/dev/null
STALE := $(if $(wildcard $(SETUP)),$(shell { $(GOOD); } || echo anew))
SETUP_DEV := .venv/.installed-dev
NETWORKS := resnet18 resnet50 resnet152
SYNTHETIC := artifacts/synthetic
COMMON = $(FLAGS) $(if $(FORCE),--force)
RUNTIME = $(if $(DEVICE),--device $(DEVICE)) $(if $(WORKERS),--workers $(WORKERS))
one = $(shell test -e "$(1)" && echo one)
several = $(if $(call one,$(1)),"$(1)",$(1))

.PHONY: synthetic help setup shards verify audit preview train baseline export evaluate answers course publish demo demo-web report handin test bench bench-loader bench-train bench-inference format clean

synthetic: $(SYNTHETIC)/report/metrics.json  ## (default) the whole line on synthetic cells: draw, build, train, export, evaluate
	@$(PY) -m evaluate summary --artifacts $(SYNTHETIC) || \
	  { echo "$(SYNTHETIC): of another version of the code? make clean, then make" >&2; exit 2; }

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 17
	@printf '\nNames may hold blanks. SHARDS and IMAGES: one folder or image, if there is one of the whole name, else a list parted by blanks.\n'
	@echo; cat train/expected.md

setup: $(SETUP)  ## make .venv from requirements.txt, nothing else

shards: $(SETUP)  ## build shards: make shards DATA=folder (SPLIT=given for the boards of the course)
	@test -n "$(DATA)" || { echo "error: DATA is not set: make shards DATA=folder (a dataset's folder)" >&2; exit 2; }
	$(PY) -m build_shards build --data "$(DATA)" --shards "$(SHARDS)" --cache "$(ARTIFACTS)/cache" \
	  $(if $(NAME),--name $(call quoted,$(NAME))) $(if $(SPLIT),--split $(SPLIT)) $(if $(SIZE),--size $(SIZE)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(WORKERS),--workers $(WORKERS)) $(COMMON)

verify: $(SETUP)  ## check shards against their manifest, hash by hash (DATA=folder: also against the images they were made of)
	$(PY) -m build_shards verify "$(SHARDS)" $(if $(DATA),--data "$(DATA)") $(if $(WORKERS),--workers $(WORKERS)) $(FLAGS)

audit: $(SETUP)  ## find twins and leaks before trusting a split: make audit DATA=folder
	@test -n "$(DATA)" || { echo "error: DATA is not set: make audit DATA=folder (a dataset's folder)" >&2; exit 2; }
	$(PY) -m build_shards audit --data "$(DATA)" --out "$(ARTIFACTS)/audit" --cache "$(ARTIFACTS)/cache" \
	  $(if $(WORKERS),--workers $(WORKERS)) $(FLAGS)

preview: $(SETUP)  ## see what a recipe does: make preview DATA=folder FLAGS="--stain macenko"
	@test -n "$(DATA)" || { echo "error: DATA is not set: make preview DATA=folder (a dataset's folder)" >&2; exit 2; }
	$(PY) -m build_shards preview --data "$(DATA)" --out "$(ARTIFACTS)/preview.png" $(if $(SIZE),--size $(SIZE)) $(FLAGS)

train: $(SETUP)  ## train a network, or go on training it: make train ARCH=resnet50 (resnet18, resnet152, all)
	$(PY) -m train --resume --arch $(ARCH) --shards "$(SHARDS)" --artifacts "$(ARTIFACTS)" $(if $(EPOCHS),--epochs $(EPOCHS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(DEVICE),--device $(DEVICE)) \
	  $(if $(THREADS),--threads $(THREADS)) $(COMMON)

baseline: $(SETUP)  ## the classical baseline, in a minute (SHARDS="f1 f2 ...": folds, scored together)
	$(PY) -m train baseline --shards $(call several,$(SHARDS)) --artifacts "$(ARTIFACTS)" $(if $(SEED),--seed $(SEED)) $(FLAGS)

# What asks for more than the file that is there makes it anew: also a variable that this command names, and not its default.
# No exported file is a target, so make deletes none where an export fails or is stopped: the room publishes by rename,
# model.onnx after its variants, so what lies there is whole and an export that broke off is made again.
named = $(filter command%,$(origin $(1)))
ANEW = $(DATA)$(FLAGS)$(FORCE)$(call named,SHARDS)
ASKED = $(if $(and $(call named,ARCH),$(filter-out all,$(ARCH))),$(ARCH),$(NETWORKS))
those = $(shell for n in $(1); do f="$(ARTIFACTS)/$$n"; $(2) && echo $$n; done)
TRAINED = $(call those,$(ASKED),test -f "$$f/best.pt")
OUTDATED = $(call those,$(TRAINED),test ! -e "$$f/model.onnx" || test -n "$$(find "$$f/best.pt" -newer "$$f/model.onnx")")
UNTRAINED = $(if $(TRAINED),,$(if $(call named,ARCH),$(ARCH),all))
export: $(SETUP)  ## export every trained network to ONNX, verified; ARCH=resnet50: that one (DATA=folder: the raw file also on its raw cells)
	$(foreach n,$(if $(ANEW),$(TRAINED),$(OUTDATED)) $(UNTRAINED),$(call run_export,$(n)))

define run_export
	$(PY) -m export --arch $(1) --artifacts "$(ARTIFACTS)" --shards $(call several,$(SHARDS)) $(if $(DATA),--data "$(DATA)") $(FLAGS)

endef

evaluate: $(SETUP)  ## score every exported network, write Kaggle CSVs (python evaluate/run.py)
	$(PY) evaluate/run.py --shards $(call several,$(SHARDS)) --artifacts "$(ARTIFACTS)" $(RUNTIME) $(FLAGS)

# What the course's results have of their own: the px of its shards, and of each network its flags (none: the defaults) and the
# network whose weights it starts from (none: from scratch). train/expected.md says the same in its table (a test compares them).
COURSE_SIZE := 112
# Threads of the CPU in each training, for sums round by how threads share them (none, COURSE_THREADS=: as torch chooses).
COURSE_THREADS := 2
COURSE_FLAGS_resnet18 :=
COURSE_FLAGS_resnet50 :=
COURSE_FLAGS_resnet152 := --epochs 4 --start-size 0 --lr 0.01 --warmup-epochs 1
COURSE_FROM_resnet152 := resnet50
# Of these networks (none: COURSE_REFIT=) the answers come of a refit: the training once more, on train and valid together.
# What that is worth on valid its counterpart tells, the network of train alone, which also calibrates it.
COURSE_REFIT := resnet18 resnet50 resnet152
# Of people never seen (every test split but "test") these networks answer instead (none: COURSE_UNSEEN=), each by a training of its
# own: what is best for people never seen need not be what is best for people seen (docs/results.md).
COURSE_UNSEEN := resnet18 resnet50 resnet152
COURSE_UNSEEN_resnet18 := --epochs 24 --ema-decay 0.999
COURSE_UNSEEN_resnet50 := --epochs 24 --ema-decay 0.999
COURSE_UNSEEN_resnet152 := $(COURSE_FLAGS_resnet152)
COURSE_FLAGS_shards :=
COURSE_FLAGS_export :=
COURSE_FLAGS_evaluate := --orientations 8
COURSE := docs/results/course
COURSE_SHARDS = $(SHARDS)/$(COURSE_SIZE)px
# $(call course_training,network,its folder,folder of the network it starts from,flags before that,flags after it)
course_training = ARCH=$(1) SHARDS=$(COURSE_SHARDS) ARTIFACTS=$(2) THREADS=$(COURSE_THREADS) \
  FLAGS="$(strip $(4) $(addprefix --initial $(3)/,$(addsuffix /best.pt,$(COURSE_FROM_$(1)))) $(5))"
REFIT = $(ARTIFACTS)/refit
UNSEEN = $(ARTIFACTS)/unseen
course: $(SETUP)  ## everything of docs/results/course again, three to four hours of two Zen 5 cores, twice that on Zen 4: make course DATA=folder ARTIFACTS=artifacts/course
	@test -n "$(DATA)" || { echo "error: DATA is not set: make course DATA=folder (a dataset's folder)" >&2; exit 2; }
	@test -z "$(word 2,$(SHARDS))$(word 2,$(ARTIFACTS))" || \
	  { echo "error: SHARDS and ARTIFACTS: make course lists folders inside them, so their names must hold no blanks" >&2; exit 2; }
	$(MAKE) shards SPLIT=given SIZE=$(COURSE_SIZE) SHARDS=$(COURSE_SHARDS) FLAGS="$(COURSE_FLAGS_shards)"
	$(foreach n,$(NETWORKS),$(MAKE) train $(call course_training,$(n),$(ARTIFACTS),$(ARTIFACTS),$(COURSE_FLAGS_$(n))) &&) true
	$(MAKE) baseline SHARDS=$(COURSE_SHARDS) FLAGS=
	$(MAKE) export ARCH=all SHARDS=$(COURSE_SHARDS) FLAGS="$(COURSE_FLAGS_export)"
	$(MAKE) evaluate SHARDS=$(COURSE_SHARDS) FLAGS="$(COURSE_FLAGS_evaluate)"
	$(if $(COURSE_REFIT),$(call refit_course))
	$(if $(COURSE_UNSEEN),$(call unseen_course))
	$(MAKE) publish FLAGS="$(strip $(if $(COURSE_REFIT),--refit $(REFIT)) $(if $(COURSE_UNSEEN),--unseen $(UNSEEN)))"

# +: as $(MAKE) is not written in the recipe itself, make -n would not follow it.
define refit_course
+$(foreach n,$(COURSE_REFIT),$(MAKE) train $(call course_training,$(n),$(REFIT),$(ARTIFACTS),$(COURSE_FLAGS_$(n)),--refit) &&) true
	+$(MAKE) export ARCH=all ARTIFACTS=$(REFIT) SHARDS=$(COURSE_SHARDS) FLAGS="$(strip $(COURSE_FLAGS_export) --counterpart $(ARTIFACTS))"
	+$(MAKE) answers ARTIFACTS=$(REFIT) SHARDS=$(COURSE_SHARDS) FLAGS="$(COURSE_FLAGS_evaluate)"
endef

define unseen_course
+$(foreach n,$(COURSE_UNSEEN),$(MAKE) train $(call course_training,$(n),$(UNSEEN),$(UNSEEN),$(COURSE_UNSEEN_$(n))) &&) true
	+$(MAKE) export ARCH=all ARTIFACTS=$(UNSEEN) SHARDS=$(COURSE_SHARDS) FLAGS="$(COURSE_FLAGS_export)"
	+$(MAKE) answers ARTIFACTS=$(UNSEEN) SHARDS=$(COURSE_SHARDS) FLAGS="$(COURSE_FLAGS_evaluate)"
endef

answers: $(SETUP)  ## CSVs of test splits alone, of networks that learned valid too (make train FLAGS=--refit)
	$(PY) -m evaluate answers --shards $(call several,$(SHARDS)) --artifacts "$(ARTIFACTS)" $(RUNTIME) $(FLAGS)

publish: $(SETUP)  ## copy the report's CSVs, histories and figures to docs/results/course
	$(PY) -m evaluate publish --artifacts "$(ARTIFACTS)" --out "$(COURSE)" $(FLAGS)

DRAWN := $(SYNTHETIC)/data/synthetic/valid
DEMO_SHARDS = $(if $(call one,$(SHARDS)),--shards "$(SHARDS)",$(foreach s,$(SHARDS),--shards "$(s)"))
demo: $(SETUP) $(if $(IMAGES),,$(SYNTHETIC)/data/train.csv)  ## classify raw images: make demo IMAGES="a.bmp folder" (unset: two drawn cells)
	@test -n "$(IMAGES)" || echo 'IMAGES is not set: two drawn cells, which prove nothing; real ones: make demo IMAGES="a.bmp folder"'
	$(PY) -m evaluate demo --artifacts "$(ARTIFACTS)" $(DEMO_SHARDS) $(RUNTIME) $(FLAGS) \
	  $(or $(call several,$(IMAGES)),$(DRAWN)/0.bmp $(DRAWN)/1.bmp)

demo-web: $(SETUP)  ## the demo as a web page of this machine alone: drop cells, read verdicts (PORT=8765, INT8=1)
	$(PY) -m evaluate web --artifacts "$(ARTIFACTS)" $(DEMO_SHARDS) $(RUNTIME) $(if $(PORT),--port $(PORT)) \
	  $(if $(INT8),--int8) $(FLAGS)

WORDS ?= docs/report
STUDENT = $(PY) -m evaluate $(1) --student-id "$(STUDENT_ID)" --name $(call quoted,$(NAME)) --words "$(WORDS)" --artifacts "$(ARTIFACTS)" $(FLAGS)
report: $(SETUP)  ## typeset the course's report: make report STUDENT_ID=0123456 NAME="Ada Lovelace" (WORDS=folder)
	@test -n "$(STUDENT_ID)" || { echo 'error: STUDENT_ID is not set: make report STUDENT_ID=0123456 NAME="Ada Lovelace"' >&2; exit 2; }
	$(call STUDENT,paper)

handin: $(SETUP)  ## DLP_LAB3_<id>_<name>.zip, and what is missing: make handin STUDENT_ID=0123456 NAME="Ada Lovelace"
	@test -n "$(STUDENT_ID)" || { echo 'error: STUDENT_ID is not set: make handin STUDENT_ID=0123456 NAME="Ada Lovelace"' >&2; exit 2; }
	$(call STUDENT,handin)

test: $(SETUP_DEV)  ## lint, format check, type check and tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile

bench: $(SETUP_DEV)  ## time the builder beside its peers: make bench DATA=folder (default: synthetic cells)
	PYTHONPATH=. $(PY) benchmarks/shards.py $(if $(DATA),--data "$(DATA)") $(FLAGS)

bench-inference: $(SETUP_DEV)  ## time the exported files beside torch and OpenVINO: make bench-inference DATA=folder
	$(PY) -m benchmarks.inference --artifacts "$(ARTIFACTS)" --shards "$(SHARDS)" $(if $(DATA),--data "$(DATA)") $(if $(DEVICE),--device $(DEVICE)) $(FLAGS)

bench-train: $(SETUP_DEV)  ## time the training loop beside two that people write: make bench-train FLAGS="--archs resnet18"
	$(PY) benchmarks/train.py $(if $(DEVICE),--device $(DEVICE)) $(FLAGS)

bench-loader: $(SETUP_DEV)  ## time the loader beside its peers: make bench-loader DATA=folder (default: synthetic cells)
	$(PY) -m benchmarks.loader $(if $(DATA),--data "$(DATA)") $(FLAGS)

format: $(SETUP_DEV)  ## format the code and mend what the linter can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:  ## remove what `make` made from synthetic cells; shards and artifacts of real cells stay
	rm -rf $(SYNTHETIC)

.PHONY: anew
anew:

$(SETUP): requirements.txt $(STALE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed: make PYTHON=python3.11" >&2; exit 2; }
	@{ $(GOOD); } || { $(RUNS) && $(PY) -m venv .venv; } || { echo '$(PYTHON) -m venv --clear .venv'; $(PYTHON) -m venv --clear .venv; }
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(SETUP_DEV): requirements-dev.txt $(SETUP)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# The synthetic line: small and brief, in a folder of its own, so that it never mixes with real cells.
$(SYNTHETIC)/data/train.csv: | $(SETUP)
	$(PY) -m build_shards synthetic --data $(SYNTHETIC)/data

$(SYNTHETIC)/shards/manifest.json: $(SYNTHETIC)/data/train.csv
	$(PY) -m build_shards build --data $(SYNTHETIC)/data --shards $(SYNTHETIC)/shards --cache $(SYNTHETIC)/cache --size 48 --force

$(NETWORKS:%=$(SYNTHETIC)/%/run.json): $(SYNTHETIC)/%/run.json: $(SYNTHETIC)/shards/manifest.json
	$(PY) -m train --arch $* --shards $(SYNTHETIC)/shards --artifacts $(SYNTHETIC) --epochs 6 --batch-size 32 --ema-decay 0.9 \
	  --warmup-epochs 1 --force

$(NETWORKS:%=$(SYNTHETIC)/%/model.onnx): $(SYNTHETIC)/%/model.onnx: $(SYNTHETIC)/%/run.json
	$(PY) -m export --arch $* --artifacts $(SYNTHETIC) --shards $(SYNTHETIC)/shards

$(SYNTHETIC)/baseline/card.json: $(SYNTHETIC)/shards/manifest.json
	$(PY) -m train baseline --shards $(SYNTHETIC)/shards --artifacts $(SYNTHETIC) > /dev/null

$(SYNTHETIC)/report/metrics.json: $(NETWORKS:%=$(SYNTHETIC)/%/model.onnx) $(SYNTHETIC)/baseline/card.json
	$(PY) evaluate/run.py --shards $(SYNTHETIC)/shards --artifacts $(SYNTHETIC) > /dev/null
