/* Round numbers along an axis. */
#ifndef EL_BENCH_REPORT_TICKS_H
#define EL_BENCH_REPORT_TICKS_H

#include <stdbool.h>
#include <stddef.h>

enum { EL_TICKS_MAX = 12 };

typedef struct el_ticks {
  double low, high;        /* the axis' ends, round too */
  double at[EL_TICKS_MAX]; /* rising, from end to end */
  int n;                   /* 2 at least */
  int decimals;            /* that tell the ticks of a linear axis apart */
  bool log;
} el_ticks;

/* Ticks of 1, 2 or 5 times a power of ten, with one distance between all, the first at or below `low` and the last at
 * or above `high`: they are the axis' ends. As many as fit into `most` (3 ... EL_TICKS_MAX). Any two numbers are taken;
 * equal or swapped ones give an axis around them. */
el_ticks el_ticks_linear(double low, double high, int most);

/* The same for a logarithmic axis. It ends at 1, 2 or 5 times a power of ten; ticks are at all of these when they fit,
 * else at the powers of ten between the ends, or at every second, third ... one. What is not above 0 is taken as a
 * millionth of the other end. */
el_ticks el_ticks_log(double low, double high, int most);

/* Where `value` stands between the axis' ends: 0 ... 1, kept inside. */
double el_ticks_place(const el_ticks *t, double value);

/* "1,500", "0.25", "2e-09". */
void el_ticks_label(const el_ticks *t, double value, char *out, size_t size);

/* A number with commas between its thousands. */
void el_number_text(double value, int decimals, char *out, size_t size);

#endif
