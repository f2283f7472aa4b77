/* Which kernels this CPU can run, and which were asked for.
 *
 * With EL_AMX_MODEL they include those that run the AMX kernels on a model of the tile unit, for
 * tests. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "kernels/select.h"
#include "kernels/tables.h"

typedef struct candidate {
  const el_kernels *kernels;
  bool (*supported)(void);
} candidate;

static bool always_supported(void) {
  return true;
}

#if defined(__x86_64__)
static bool cpu_has_avx2(void) {
  unsigned a, b, c, d; /* F16C by hand: clang's builtin does not know it */
  bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool cpu_has_avxvnni(void) {
  unsigned a, b, c, d; /* by hand: not every compiler's builtin knows it */
  return cpu_has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
static bool cpu_has_avx512vnni(void) {
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

/* AMX: the tile registers are 8 KiB of state, which the system must save (XCR0) and which a process
 * must ask for. */
typedef enum amx_access {
  AMX_ABSENT,
  AMX_NOT_BUILT,
  AMX_NOT_WANTED,
  AMX_NOT_SAVED,
  AMX_DENIED,
  AMX_GRANTED
} amx_access;

static bool cpu_has_amx_int8(void) {
  const unsigned tile = 1u << 24, int8 = 1u << 25;
  unsigned a, b, c, d;
  if (!cpu_has_avx512vnni() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & tile) || !(d & int8)) return false;
  /* Palette 1: 8 tiles of 16 rows of 64 bytes, as tiles_amx.h uses them. */
  return __get_cpuid_count(0x1d, 1, &a, &b, &c, &d) && b >> 16 >= 8 && (b & 0xffff) >= 64 && (c & 0xffff) >= 16;
}

static bool system_saves_tiles(void) {
  const unsigned config_and_data = 3u << 17;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (a & config_and_data) == config_and_data;
}

/* Permission is for the process with all its threads; asking again is no error. */
static bool ask_for_tiles(void) {
#if defined(__linux__)
  /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA: Linux 5.16 */
  enum { REQUEST = 0x1023, TILE_DATA = 18 };
  return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
  return false;
#endif
}

static amx_access amx_int8_access(void) {
  if (!cpu_has_amx_int8()) return AMX_ABSENT;
#if !defined(EL_HAVE_AMX)
  return AMX_NOT_BUILT;
#endif
  /* These kernels have not run on a tile unit yet: the user has to ask for them. */
  const char *wanted = getenv("EDGELORA_AMX");
  if (!wanted || strcmp(wanted, "1") != 0) return AMX_NOT_WANTED;
  if (!system_saves_tiles()) return AMX_NOT_SAVED;
  return ask_for_tiles() ? AMX_GRANTED : AMX_DENIED;
}

#if defined(EL_HAVE_AMX)
static bool may_use_amx_int8(void) {
  return amx_int8_access() == AMX_GRANTED;
}
#endif
#endif

const char *el_kernels_refused(void) {
#if defined(__x86_64__)
  switch (amx_int8_access()) {
    case AMX_NOT_BUILT: return "amx_int8: this program was built without AMX";
    case AMX_NOT_WANTED: return "amx_int8: not tried on any CPU yet, used with EDGELORA_AMX=1 alone";
    case AMX_NOT_SAVED: return "amx_int8: the system does not save the registers of AMX";
    case AMX_DENIED: return "amx_int8: the system denies AMX to this process (arch_prctl ARCH_REQ_XCOMP_PERM)";
    case AMX_ABSENT:
    case AMX_GRANTED: break;
  }
#endif
  return NULL;
}

#if defined(__aarch64__)
/* The kernel of the system says what the CPU has, and lists only what it lets programs use. */
static bool cpu_has_dotprod(void) {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  return false;
#endif
}
static bool cpu_has_i8mm(void) {
#if defined(__linux__) && defined(HWCAP2_I8MM)
  return getauxval(AT_HWCAP2) & HWCAP2_I8MM;
#else
  return false;
#endif
}
#endif

/* Best first. */
static const candidate candidates[] = {
#if defined(__x86_64__)
#if defined(EL_AMX_MODEL)
    {&el_kernels_amx_model_avx512, cpu_has_avx512vnni},
#endif
#if defined(EL_HAVE_AMX)
    {&el_kernels_amx_int8, may_use_amx_int8},
#endif
    {&el_kernels_avx512vnni, cpu_has_avx512vnni},
    {&el_kernels_avxvnni, cpu_has_avxvnni},
    {&el_kernels_avx2, cpu_has_avx2},
#endif
#if defined(__aarch64__)
    {&el_kernels_i8mm, cpu_has_i8mm},
    {&el_kernels_dotprod, cpu_has_dotprod},
    {&el_kernels_neon, always_supported},
#endif
#if defined(EL_AMX_MODEL)
    {&el_kernels_amx_model, always_supported},
#endif
    {&el_kernels_scalar, always_supported},
};

/* One bit for each candidate that this CPU supports. Asking a CPU takes microseconds where a
 * hypervisor answers, so the answer is kept; it is the same for all callers. */
static unsigned supported_kernels(void) {
  static atomic_uint kept; /* 0: not asked yet; the portable kernels are always supported */
  unsigned found = atomic_load_explicit(&kept, memory_order_relaxed);
  if (found) return found;
  for (size_t c = 0; c < sizeof candidates / sizeof *candidates; c++)
    if (candidates[c].supported()) found |= 1u << c;
  atomic_store_explicit(&kept, found, memory_order_relaxed);
  return found;
}

const el_kernels *el_kernels_at(int i) {
  const unsigned found = supported_kernels();
  for (size_t c = 0; c < sizeof candidates / sizeof *candidates; c++)
    if ((found >> c & 1) && i-- == 0) return candidates[c].kernels;
  return NULL;
}

el_status el_kernels_get(const char *name, const el_kernels **out, el_error *err) {
  if (!name || !strcmp(name, "auto")) {
    *out = el_kernels_at(0);
    return EL_OK;
  }
  char have[128] = "";
  for (int i = 0; el_kernels_at(i); i++) {
    const char *k = el_kernels_at(i)->name;
    if (!strcmp(k, name)) {
      *out = el_kernels_at(i);
      return EL_OK;
    }
    size_t used = strlen(have);
    if (used + strlen(k) + 3 < sizeof have) {
      strcat(have, i ? ", " : "");
      strcat(have, k);
    }
  }
  const char *refused = el_kernels_refused();
  return el_fail(err, EL_ERR_UNSUPPORTED, "isa: '%s' is not available; this CPU runs %s%s%s", name, have,
                 refused ? "; " : "", refused ? refused : "");
}

const char *el_kernels_name(const el_kernels *k) {
  return k->name;
}

el_status el_kv_type_get(const char *name, el_kv_type *out, el_error *err) {
  if (!name || strcmp(name, "f16") == 0)
    *out = EL_KV_F16;
  else if (strcmp(name, "q8") == 0)
    *out = EL_KV_Q8;
  else
    return el_fail(err, EL_ERR_INVALID, "kv_type: '%s' is neither f16 nor q8", name);
  return EL_OK;
}
