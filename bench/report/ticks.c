#include "bench/report/ticks.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Beyond these no measurement lies, and within them no sum or power below overflows. */
static const double LEAST = 1e-30, MOST = 1e30;

static double bounded(double x) {
  return !(x > -MOST) ? -MOST : !(x < MOST) ? MOST : x;
}

static void order(double *low, double *high) {
  *low = bounded(*low);
  *high = bounded(*high);
  if (*low > *high) {
    double x = *low;
    *low = *high;
    *high = x;
  }
}

static int at_most(int most) {
  return most < 3 ? 3 : most > EL_TICKS_MAX ? EL_TICKS_MAX : most;
}

/* 1, 2 and 5 times a power of ten, counted: 0 is 1, 1 is 2, 2 is 5, 3 is 10, -1 is 0.5. */
static double round_number(int i) {
  static const double mantissa[] = {1, 2, 5};
  int exponent = i >= 0 ? i / 3 : -((2 - i) / 3), rest = i - 3 * exponent;
  /* 10^-3 is rounded twice, 1/10^3 once. */
  return exponent < 0 ? mantissa[rest] / pow(10, -exponent) : mantissa[rest] * pow(10, exponent);
}

static int exponent_of(int i) {
  return i >= 0 ? i / 3 : -((2 - i) / 3);
}

/* The greatest round number not above x > 0. */
static int round_below(double x) {
  int i = 3 * (int)floor(log10(x)) - 1; /* one too low, for the logarithm's rounding */
  while (round_number(i + 1) <= x) i++;
  return i;
}

el_ticks el_ticks_linear(double low, double high, int most) {
  order(&low, &high);
  most = at_most(most);
  double size = fmax(fabs(low), fabs(high));
  /* Ends so near each other that steps between them would be lost in rounding are drawn apart. */
  if (high - low <= size * 1e-9 || high - low < LEAST) {
    double around = size * 0.5 > LEAST ? size * 0.5 : 1;
    low = low >= 0 && low < around ? 0 : low - around;
    high += around;
  }
  el_ticks t = {.log = false};
  /* A step this small has at least as many ticks as asked for; from there on it grows until they fit. At two ticks it
   * always fits if an end is 0, and within three otherwise. */
  for (int i = round_below((high - low) / most);; i++) {
    double step = round_number(i), first = floor(low / step + 1e-9), last = ceil(high / step - 1e-9);
    if (last <= first) last = first + 1;
    if (last - first + 1 > most) continue;
    t.n = (int)(last - first) + 1;
    for (int k = 0; k < t.n; k++) {
      int exponent = exponent_of(i);
      /* Whole numbers divided by a power of ten are the doubles nearest to what the labels say. */
      t.at[k] = exponent < 0 ? (first + k) * (round_number(i - 3 * exponent)) / pow(10, -exponent) : (first + k) * step;
    }
    t.decimals = exponent_of(i) < 0 ? -exponent_of(i) : 0;
    t.low = t.at[0];
    t.high = t.at[t.n - 1];
    return t;
  }
}

el_ticks el_ticks_log(double low, double high, int most) {
  order(&low, &high);
  most = at_most(most);
  if (high < LEAST) high = 1;
  if (low < LEAST) low = high * 1e-6;
  int first = round_below(low * (1 + 1e-9)), last = round_below(high);
  if (round_number(last) < high * (1 - 1e-9)) last++;
  if (last == first) {
    first--;
    last++;
  }
  el_ticks t = {.low = round_number(first), .high = round_number(last), .log = true};
  if (last - first + 1 <= most) {
    for (int i = first; i <= last; i++) t.at[t.n++] = round_number(i);
    return t;
  }
  int lowest = -(int)floor(-first / 3.0), highest = (int)floor(last / 3.0), by = 1;
  while ((highest - lowest) / by + 1 > most) by++;
  for (int e = lowest; e <= highest; e += by) t.at[t.n++] = round_number(3 * e);
  if (t.n >= 2) return t;
  t.at[0] = t.low;
  t.at[1] = t.high;
  t.n = 2;
  return t;
}

double el_ticks_place(const el_ticks *t, double value) {
  double low = t->low, high = t->high;
  if (!(value > low)) return 0;
  if (value >= high) return 1;
  return t->log ? (log(value) - log(low)) / (log(high) - log(low)) : (value - low) / (high - low);
}

void el_number_text(double value, int decimals, char *out, size_t size) {
  char plain[400]; /* the longest double has 309 digits before the point */
  decimals = decimals < 0 ? 0 : decimals > 15 ? 15 : decimals;
  int len = snprintf(plain, sizeof plain, "%.*f", decimals, value);
  if (len < 0 || !size) return;
  const char *p = plain;
  size_t at = 0, digits = strcspn(plain, ".") - (plain[0] == '-');
  if (strspn(plain, "-0.") == (size_t)len && *p == '-') p++; /* what rounds to 0 has no sign */
  if (*p == '-' && at + 1 < size) out[at++] = *p++;
  for (; *p && at + 1 < size; p++) {
    out[at++] = *p;
    if (digits && --digits && digits % 3 == 0 && *p >= '0' && *p <= '9' && at + 1 < size) out[at++] = ',';
  }
  out[at] = 0;
}

void el_ticks_label(const el_ticks *t, double value, char *out, size_t size) {
  double ends = fmax(fabs(t->low), fabs(t->high));
  int decimals = t->decimals;
  if (t->log) decimals = value < 1 && value > 0 ? (int)ceil(-log10(value) - 1e-9) : 0;
  if (decimals > 5 || ends >= 1e9)
    snprintf(out, size, "%.6g", value);
  else
    el_number_text(value, decimals, out, size);
}
