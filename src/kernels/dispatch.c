/* Which kernels this CPU can run, and which were asked for. */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
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

static bool always(void) {
  return true;
}

#if defined(__x86_64__)
static bool has_avx2(void) {
  unsigned a, b, c, d; /* F16C by hand: clang's builtin does not know its name */
  bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool has_avxvnni(void) {
  unsigned a, b, c, d; /* by hand: not every compiler's builtin knows the name */
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
static bool has_avx512vnni(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

#if defined(__aarch64__)
/* The kernel tells what the CPU has, and lists nothing that it does not let programs use. */
static bool has_dotprod(void) {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  return false;
#endif
}
static bool has_i8mm(void) {
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
    {&el_kernels_avx512vnni, has_avx512vnni},
    {&el_kernels_avxvnni, has_avxvnni},
    {&el_kernels_avx2, has_avx2},
#endif
#if defined(__aarch64__)
    {&el_kernels_i8mm, has_i8mm},
    {&el_kernels_dotprod, has_dotprod},
    {&el_kernels_neon, always},
#endif
    {&el_kernels_scalar, always},
};

const el_kernels *el_kernels_at(int i) {
  for (size_t c = 0; c < sizeof candidates / sizeof *candidates; c++)
    if (candidates[c].supported() && i-- == 0) return candidates[c].kernels;
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
  return el_fail(err, EL_ERR_UNSUPPORTED, "isa: '%s' is not available; this CPU runs %s", name, have);
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
