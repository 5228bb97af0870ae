# Builds and installs the extension:  make && make install
# Another PostgreSQL than the first in PATH:  make PG_CONFIG=/path/to/pg_config

EXTENSION = integrity
MODULE_big = integrity
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(or $(VPATH),.)/integrity.control)

# The install script is these parts, in this order; docs/generate reads the list too.
PARTS = src/module.sql src/reference/reference.sql src/reference/alter_table.sql src/report/query.sql \
	src/report/advice.sql src/report/report.sql src/report/broken.sql src/report/rows.sql src/report/progress.sql \
	src/repair/image.sql src/repair/tools.sql src/repair/journal.sql src/repair/judge.sql src/repair/cascade.sql \
	src/repair/change.sql src/repair/repair.sql src/repair/batches.sql \
	src/repair/restore.sql src/repair/undo_rows.sql src/repair/undo.sql src/repair/forget.sql \
	src/watch/accept.sql src/watch/health.sql src/watch/gate.sql src/watch/record.sql src/watch/schedule.sql \
	src/watch/chart.sql src/watch/graph.sql src/watch/graph_svg.sql src/watch/page.sql

# All sources of all rooms. A VPATH build finds them where the Makefile is, not where the objects go.
here = $(or $(VPATH),.)
find_files = $(sort $(patsubst $(here)/%,%,$(foreach pattern,$(1),$(wildcard $(here)/$(pattern)))))

OBJS := $(patsubst %.cpp,%.o,$(call find_files,src/*.cpp src/*/*.cpp))
ifdef VPATH
$(shell mkdir -p $(sort $(dir $(OBJS))))
endif
SOURCE_HEADERS := $(call find_files,src/*.h src/*/*.h)
# Older versions, frozen, and the ways from them; test/cluster/extension_update.sh holds them against the parts above.
DATA = $(call find_files,upgrade/$(EXTENSION)--*.sql)
DATA_built = $(EXTENSION)--$(EXTVERSION).sql

# PG_CPPFLAGS, not PG_CXXFLAGS: only the former reaches the bitcode files too.
#  -isystem            no warnings out of PostgreSQL's headers, all of them out of ours
#  -Wno-register       PostgreSQL 15 headers say "register", which C++17 took away
#  -fno-threadsafe-statics, -static-libgcc and linking with the C compiler (as PGXS does):
#                      the module needs no library but libc
PG_CPPFLAGS = -std=c++20 -fno-exceptions -fno-rtti -fno-threadsafe-statics -fvisibility=hidden \
	-Wall -Wextra -Wno-register -isystem $(includedir_server) -I$(srcdir)/src
SHLIB_LINK = -static-libgcc
ifneq (,$(findstring clang,$(CXX)))
PG_CXXFLAGS = -Wno-unknown-warning-option
endif

# Regression tests: the basics first, then whatever else stands in sql/.
# "openflights" needs data that is not part of the project: OPENFLIGHTS_DIR says where it is.
REGRESS_FIRST = tutoring declare check actions types deferrable truncate partition
regress_all := $(patsubst sql/%.sql,%,$(call find_files,sql/*.sql))
ifeq (,$(OPENFLIGHTS_DIR))
regress_all := $(filter-out openflights,$(regress_all))
endif
REGRESS := $(filter $(regress_all),$(REGRESS_FIRST)) $(filter-out $(REGRESS_FIRST),$(regress_all))
REGRESS_OPTS = --inputdir=$(srcdir) $(expected_dir)$(if $(expected_dir),$(srcdir))

# The isolation specs find the extension already made.
ISOLATION := $(patsubst test/isolation/specs/%.spec,%,$(call find_files,test/isolation/specs/*.spec))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation $(expected_dir)$(if $(expected_dir),$(srcdir)/test/isolation) \
	--load-extension=$(EXTENSION)

# Newer versions of pg_regress look for expected/ in the current folder unless told.
expected_dir = $(if $(shell $(top_builddir)/src/test/regress/pg_regress --help 2>/dev/null | grep expecteddir),--expecteddir=)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq (,$(wildcard $(PGXS)))
$(error "$(PG_CONFIG) --pgxs" leads nowhere: install the server's development files (Debian: postgresql-server-dev-NN) or set PG_CONFIG)
endif

# No bitcode for JIT where PostgreSQL was built with an LLVM that this machine does not have.
global := $(dir $(PGXS))../Makefile.global
from_global = $(firstword $(shell sed -n 's/^$(1) *= *//p' $(global)))
CLANG ?= $(call from_global,CLANG)
ifeq (,$(and $(shell command -v $(CLANG)),$(wildcard $(call from_global,LLVM_BINPATH)/llvm-lto)))
override with_llvm = no
endif

include $(PGXS)

ifneq (,$(filter 9.% 10 11 12 13 14,$(MAJORVERSION)))
$(error integrity needs PostgreSQL 15 or later, and $(PG_CONFIG) is of $(MAJORVERSION))
endif

# A header changed: compile everything again.
$(OBJS) $(OBJS:.o=.bc): $(SOURCE_HEADERS)

$(DATA_built): $(PARTS) $(EXTENSION).control
	( printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit' && \
	  cat $(filter %.sql,$^) ) >$@

.PHONY: docs list-regress list-isolation
docs:
	$(srcdir)/docs/generate >$(srcdir)/docs/reference.md.new
	mv $(srcdir)/docs/reference.md.new $(srcdir)/docs/reference.md

# What "make installcheck" would run, one name a line.
list-regress:
	@printf '%s\n' $(REGRESS)
list-isolation:
	@printf '%s\n' $(ISOLATION)
