# gcc builds for speed; CC=clang for its warnings, WERROR=1 to be strict.
# SAN=address,undefined and EMULATE=1 build beside the plain tree. O holds all
# that is made.
PKGS     = openblas yaml-0.1 libpng cairo libzstd libxxhash libcbor jansson \
           libpcre2-8 libutf8proc
CPPFLAGS := -D_GNU_SOURCE -Ilib $(shell pkg-config --cflags $(PKGS))
LDLIBS   := $(shell pkg-config --libs $(PKGS)) -lstemmer -lm
CFLAGS   = -std=c11 -O3 -g -ffp-contract=off -fno-math-errno \
           -fno-trapping-math -fopenmp -Wall -Wextra -Wmissing-prototypes \
           -Wstrict-prototypes -Wshadow -Wvla
O        = build/$(or $(SAN),$(if $(EMULATE),emulate,plain))
san      = $(SAN:%=-fsanitize=%)
OBJ      = $(patsubst %.c,$O/obj/%.o,$(wildcard lib/*/*.c))
CMDS     = $(patsubst cmd/%.c,$O/%,$(wildcard cmd/*.c))
TOOLS    = $(patsubst tests/%.c,$O/%,$(wildcard tests/tools/*.c))
UNIT     = $(patsubst tests/%.c,$O/%,$(wildcard tests/unit/test_*.c))
BENCH    = $(patsubst tests/%.c,$O/%,$(wildcard tests/bench/*.c))
SCRIPTS  = $(patsubst cmd/%,$O/%,$(filter-out %.c,$(wildcard cmd/ral-*)))
SHELLS   = $(filter-out tests/lib.sh,$(wildcard tests/*.sh tests/cli/*.sh))
PREFIX   = /usr/local
DEST     = $(DESTDIR)$(PREFIX)

## all: every program, in build/plain
all: $(CMDS) $(SCRIPTS)

# Kernels are compiled once per instruction set and chosen at start.
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
$O/obj/lib/cpu/%_avx2.o: isa = -mavx2 -mfma
$O/obj/lib/cpu/%_avx512.o: isa = $(avx512)
avx512   = -mavx512f -mavx512dq -mavx512vl -mfma
# EMULATE=1: the AVX-512 kernels over SIMDe's emulation by AVX2, so that
# processors without them can run everything under RAL_CPU=avx512.
ifdef EMULATE
CPPFLAGS += -DRAL_EMULATE
avx512   = -mavx2 -mfma -Wno-psabi
endif
endif

# Unit tests read tests/golden from anywhere.
$O/obj/unit/%.o: private CPPFLAGS += -DGOLDEN_TOP='"$(CURDIR)"'
$O/unit/%: private check = $(shell pkg-config --libs check)

vpath %.c . cmd tests
$O/obj/%.o: %.c $O/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(WERROR:%=-Werror) $(isa) $(san) -MMD -MP -c -o $@ $<
$O/libral.a: $(OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$O/%: $O/obj/%.o $O/libral.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(san) -Wl,--as-needed -o $@ $^ $(check) $(LDLIBS)

# A tree that was made by another compiler, or with other flags, is made anew.
flags := $(strip $(shell $(CC) --version | sed 's/^[^ ]* //; q') $(CPPFLAGS) $(CFLAGS) $(san))
ifneq ($(flags),$(file <$O/flags))
$(shell mkdir -p $O; echo '$(flags)' >$O/flags)
endif

$(SCRIPTS): $O/%: cmd/%
	@mkdir -p $(@D)
	install -m 755 $< $@

## units: unit tests and the tools of shell tests
units: $(UNIT) $(TOOLS)
## check: all tests
check: all units
	O=$(abspath $O) prove -e '' --directives --timer $(UNIT) $(SHELLS)
## check-guard: model, training and demo on the machine that guards its memory
GUARDED  = exact model step gradients trained kl
check-guard: all units
	RAL_DEVICE=guard prove -e '' --timer $(GUARDED:%=$O/unit/test_%)
	$(MAKE) -s demo QUICK=1 DEMO=build/demo-cpu
	RAL_DEVICE=guard $(MAKE) -s demo QUICK=1 DEMO=build/demo-guard
	cmp build/demo-cpu/table.txt build/demo-guard/table.txt
## check-bad: with SAN=address,undefined, what a sanitizer should see
check-bad: all units
	O=$(abspath $O) prove -e '' --directives --timer $(UNIT) $(wildcard tests/cli/bad_*.sh)

## check-emulated: products and kernels as AVX-512 computes them; needs SIMDe
check-emulated:
	$(MAKE) EMULATE=1 units
	RAL_CPU=avx512 prove -e '' --timer $(addprefix build/emulate/unit/test_,kernels matmul attention exact trained)

## fuzz: parsers against libFuzzer, FUZZ_S=30 seconds each; finds are kept
FUZZ   = $(patsubst tests/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_S = 30
build/fuzz/fuzz/%: private san = -fsanitize=fuzzer,address,undefined
fuzz: $(TOOLS)
	$(MAKE) CC=clang O=build/fuzz SAN=fuzzer-no-link,address,undefined \
	    CFLAGS='-std=c11 -g -O1 -fno-sanitize-recover=all' $(FUZZ)
	PATH=$O/tools:$$PATH sh tests/fuzz/run.sh $(FUZZ_S) $(FUZZ)

## photos: one step on all PNG rows of shared/data/photos: minutes
photos: all units
	O=$(abspath $O) PHOTOS=1000000 prove -ve '' tests/cli/photos.sh

## demo: from random weights to a policy that looks; ten minutes; SEED=n, QUICK=1
demo: all
	PATH=$(abspath $O):$$PATH SEED=$(SEED) QUICK=$(QUICK) DEMO=$(DEMO) \
	    sh share/demo/demo.sh

## bench: speed and memory beside their floors; a missed floor is printed
bench: all $(BENCH)
	O=$(abspath $O) sh tests/bench/bench.sh

## install: programs, manuals, library and recipes under PREFIX=/usr/local
install: all $O/libral.a
	install -d $(DEST)/bin $(DEST)/lib/pkgconfig $(DEST)/share/ral
	for f in $(CMDS) $(SCRIPTS); do install $$f $(DEST)/bin || exit 1; done
	install -m 644 $O/libral.a $(DEST)/lib
	for f in lib/*/*.h; do \
	    install -D -m 644 $$f $(DEST)/include/ral/$${f#lib/} || exit 1; done
	for f in $(wildcard man/*.[1-9]); do \
	    install -D -m 644 -t $(DEST)/share/man/man$${f##*.} $$f || exit 1; done
	cp -R share/. $(DEST)/share/ral
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: ral' \
	    'Description: reinforced attention learning' \
	    "Version: $$(sed -n 's/.*RAL_VERSION "\(.*\)"/\1/p' lib/base/version.h)" \
	    'Requires: $(PKGS)' 'Cflags: -I$${prefix}/include/ral' \
	    'Libs: -L$${prefix}/lib -lral -fopenmp -lstemmer -lm' \
	    >$(DEST)/lib/pkgconfig/ral.pc
## clean: removes build
clean:
	rm -rf build
## help: these lines
help:
	@sed -n 's/^## //p' Makefile

.PHONY: all units check check-bad check-guard check-emulated fuzz photos demo bench install clean help
.SECONDARY:
-include $(shell find $O/obj -name '*.d' 2>/dev/null)
