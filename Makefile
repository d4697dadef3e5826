# gcc builds for speed; CC=clang for its warnings. SAN=address,undefined and
# EMULATE=1 build beside the plain tree. O holds everything that is made.
PKGS     = openblas yaml-0.1 libpng cairo libzstd libxxhash libcbor jansson \
           libpcre2-8 libutf8proc
CPPFLAGS := -D_GNU_SOURCE -Ilib $(shell pkg-config --cflags $(PKGS))
LDLIBS   := $(shell pkg-config --libs $(PKGS)) -lstemmer -lm
CFLAGS   = -std=c11 -O3 -g -ffp-contract=off -fno-math-errno \
           -fno-trapping-math -fopenmp -Wall -Wextra $(if $(WERROR),-Werror)
O        = build/$(or $(SAN),$(if $(EMULATE),emulate,plain))
san      = $(SAN:%=-fsanitize=%)
OBJ      = $(patsubst %.c,$O/%.o,$(wildcard lib/*/*.c))
CMDS     = $(patsubst cmd/%.c,$O/%,$(wildcard cmd/*.c))
TOOLS    = $(patsubst tests/tools/%.c,$O/tools/%,$(wildcard tests/tools/*.c))
UNIT     = $(patsubst tests/unit/%.c,$O/unit/%,$(wildcard tests/unit/test_*.c))
SCRIPTS  = $(patsubst cmd/%,$O/%,$(filter-out %.c,$(wildcard cmd/ral-*)))
SHELLS   = $(filter-out tests/lib.sh,$(wildcard tests/*.sh tests/cli/*.sh))
PREFIX   = /usr/local
DEST     = $(DESTDIR)$(PREFIX)

all: $(CMDS) $(SCRIPTS)

# Kernels are compiled once per instruction set and chosen at start.
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
$O/lib/nn/%_avx2.o: CFLAGS += -mavx2 -mfma
$O/lib/nn/%_avx512.o: CFLAGS += $(avx512)
avx512   = -mavx512f -mavx512dq -mavx512vl -mfma
# EMULATE=1: the AVX-512 kernels over SIMDe's emulation by AVX2, so that
# processors without them can run everything under RAL_CPU=avx512.
ifdef EMULATE
CPPFLAGS += -DRAL_EMULATE
avx512   = -mavx2 -mfma -Wno-psabi
endif
endif

# Unit tests read tests/golden from anywhere.
$O/tests/unit/%.o: CPPFLAGS += -DGOLDEN_TOP='"$(CURDIR)"'

$O/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(san) -MMD -MP -c -o $@ $<
$O/libral.a: $(OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$O/%: $O/cmd/%.o $O/libral.a
	$(CC) -fopenmp $(san) -Wl,--as-needed -o $@ $^ $(LDLIBS)
$O/unit/%: $O/tests/unit/%.o $O/libral.a
	@mkdir -p $(@D)
	$(CC) -fopenmp $(san) -Wl,--as-needed -o $@ $^ $(shell pkg-config --libs check) $(LDLIBS)

$O/tools/%: $O/tests/tools/%.o $O/libral.a
	@mkdir -p $(@D)
	$(CC) -fopenmp $(san) -Wl,--as-needed -o $@ $^ $(LDLIBS)

$O/bench/%: $O/tests/bench/%.o $O/libral.a
	@mkdir -p $(@D)
	$(CC) -fopenmp $(san) -Wl,--as-needed -o $@ $^ $(LDLIBS)

$(SCRIPTS): $O/%: cmd/%
	@mkdir -p $(@D)
	install -m 755 $< $@

units: $(UNIT) $(TOOLS)
check: all units
	O=$(abspath $O) prove -e '' --timer $(UNIT) $(SHELLS)
# What a sanitizer should see: unit tests, and programs on bad input.
check-bad: all units
	O=$(abspath $O) prove -e '' --timer $(UNIT) $(wildcard tests/cli/bad_*.sh)

# Every product and kernel as processors with AVX-512 compute them, on any
# with AVX2; needs SIMDe.
check-emulated:
	$(MAKE) EMULATE=1 units
	RAL_CPU=avx512 prove -e '' --timer $(addprefix build/emulate/unit/test_,kernels matmul attention exact)

# Parsers against libFuzzer, FUZZ_S seconds each; what it found useful is kept.
FUZZ     = $(patsubst tests/%.c,build/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SRC = $(wildcard $(addprefix lib/,$(addsuffix /*.c,base stream data media text)))
FUZZ_S   = 30
build/fuzz/%: tests/fuzz/%.c $(FUZZ_SRC)
	@mkdir -p $@.corpus
	clang $(CPPFLAGS) -g -O1 -fsanitize=fuzzer,address,undefined -o $@ $^ $(LDLIBS)
fuzz: $(FUZZ) $(TOOLS)
	for f in $(FUZZ:build/fuzz/fuzz_%=%); do s=tests/fuzz/seed_$$f.sh; \
	    [ ! -f $$s ] || PATH=$O/tools:$$PATH sh $$s build/fuzz/fuzz_$$f.corpus || exit 1; done
	for f in $(FUZZ); do $$f -max_total_time=$(FUZZ_S) -rss_limit_mb=1024 \
	    -print_final_stats=1 $$f.corpus || exit 1; done

# One step on all PNG rows of shared/data/photos: minutes.
photos: all units
	O=$(abspath $O) PHOTOS=1000000 prove -ve '' tests/cli/photos.sh

# From random weights to a policy that looks; ten minutes. SEED=n, QUICK=1.
demo: all
	PATH=$(abspath $O):$$PATH SEED=$(SEED) QUICK=$(QUICK) DEMO=$(DEMO) \
	    sh share/demo/demo.sh

# Speed and memory beside their floors; no test: a missed floor is printed.
BENCH    = $(patsubst tests/%.c,$O/%,$(wildcard tests/bench/*.c))
bench: all $(BENCH)
	O=$(abspath $O) sh tests/bench/bench.sh

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
clean:
	rm -rf build

.PHONY: all units check check-bad check-emulated fuzz photos demo bench install clean
.SECONDARY:
-include $(shell find $O -name '*.d' 2>/dev/null)
