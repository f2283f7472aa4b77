/* Which loops this CPU can run. */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "bench/peak/chains.h"
#include "bench/peak/loops.h"
#include "kernels/select.h"

#if defined(__x86_64__)
static bool has_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool has_avxvnni(void) {
  unsigned a, b, c, d; /* by hand: not every compiler's builtin knows the name */
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
static bool has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}
static bool has_avx512vnni(void) {
  return has_avx512() && __builtin_cpu_supports("avx512vnni");
}
#if defined(EL_HAVE_AMX)
/* The system must let this process use tiles, which the kernels ask for. */
static bool has_amx_int8(void) {
  const el_kernels *k;
  return !el_kernels_get("amx_int8", &k, NULL);
}
#endif
#elif defined(__aarch64__)
static bool has_neon(void) {
  return true;
}
static bool has_dotprod(void) {
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}
static bool has_i8mm(void) {
#if defined(HWCAP2_I8MM)
  return getauxval(AT_HWCAP2) & HWCAP2_I8MM;
#else
  return false;
#endif
}
#endif

/* Best first within a kind. The last member: other instruction sets whose float arithmetic is the same. */
typedef struct entry {
  el_peak_loop loop;
  const char *also;
} entry;

static const entry entries[] = {
#if defined(EL_HAVE_AMX)
    {{"amx_int8", EL_PEAK_INT8, "tdpbssd", EL_CHAINS * 32768, el_peak_tdpbssd, has_amx_int8}, ""},
#endif
#if defined(__x86_64__)
    {{"avx512vnni", EL_PEAK_INT8, "vpdpbusd zmm", EL_CHAINS * 128, el_peak_vpdpbusd_zmm, has_avx512vnni}, ""},
    {{"avx512", EL_PEAK_INT8, "vpmaddubsw zmm", EL_CHAINS * 128, el_peak_vpmaddubsw_zmm, has_avx512}, ""},
    {{"avxvnni", EL_PEAK_INT8, "vpdpbusd ymm", EL_CHAINS * 64, el_peak_vpdpbusd_ymm, has_avxvnni}, ""},
    {{"avx2", EL_PEAK_INT8, "vpmaddubsw ymm", EL_CHAINS * 64, el_peak_vpmaddubsw_ymm, has_avx2}, ""},
    {{"avx512", EL_PEAK_F32, "vfmadd231ps zmm", EL_CHAINS * 32, el_peak_fma_zmm, has_avx512}, "avx512vnni amx_int8"},
    {{"avx2", EL_PEAK_F32, "vfmadd231ps ymm", EL_CHAINS * 16, el_peak_fma_ymm, has_avx2}, "avxvnni"},
#elif defined(__aarch64__)
    {{"i8mm", EL_PEAK_INT8, "smmla", EL_CHAINS * 64, el_peak_smmla, has_i8mm}, ""},
    {{"dotprod", EL_PEAK_INT8, "sdot", EL_CHAINS * 32, el_peak_sdot, has_dotprod}, ""},
    {{"neon", EL_PEAK_INT8, "smlal2", EL_CHAINS * 16, el_peak_smlal, has_neon}, ""},
    {{"neon", EL_PEAK_F32, "fmla", EL_CHAINS * 8, el_peak_fmla, has_neon}, "dotprod i8mm"},
#endif
    {{NULL, EL_PEAK_INT8, NULL, 0, NULL, NULL}, NULL},
};

const el_peak_loop *el_peak_loop_at(int i) {
  for (const entry *e = entries; e->loop.isa; e++)
    if (e->loop.supported() && i-- == 0) return &e->loop;
  return NULL;
}

const el_peak_loop *el_peak_loop_of(const char *isa, el_peak_kind kind) {
  for (const entry *e = entries; e->loop.isa; e++)
    if (e->loop.kind == kind && e->loop.supported() && (strcmp(e->loop.isa, isa) == 0 || strstr(e->also, isa)))
      return &e->loop;
  return NULL;
}

el_peak_read_fn el_peak_read(int *width) {
#if defined(__x86_64__)
  if (has_avx512()) return *width = 64, el_peak_read_avx512;
  if (has_avx2()) return *width = 32, el_peak_read_avx2;
#endif
  return *width = 16, el_peak_read_generic;
}
