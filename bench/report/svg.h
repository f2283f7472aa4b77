/* One chart as inline SVG: axes with round ticks, and lines or dots in the colours of their series.
 *
 * Colours, fonts and the dark variant are the page's (html.c): the drawing names classes only. Coordinates are rounded
 * to a tenth of a pixel, and what falls on the same pixel is drawn once, so that a run of a hundred thousand requests
 * is a few kilobytes, and looks as all of its points would. */
#ifndef EL_BENCH_REPORT_SVG_H
#define EL_BENCH_REPORT_SVG_H

#include <math.h>
#include <stddef.h>

#include "bench/report/text.h"

/* The page has colours for this many series; then they repeat, dashed. */
enum { EL_SVG_COLOURS = 8 };

typedef struct el_svg_point {
  double x, y;
  double low, high; /* the spread of y over repeated runs; equal to y where there is none */
} el_svg_point;

typedef enum el_svg_shape {
  EL_SVG_LINE,  /* through all points, with a mark and a bar of the spread at each */
  EL_SVG_STEPS, /* each y holds until the next x */
  EL_SVG_DOTS
} el_svg_shape;

typedef struct el_svg_line {
  const char *name; /* what a pointer over it is told */
  int series;       /* 0...: its colour */
  el_svg_shape shape;
  el_svg_point *points; /* by rising x, but for dots */
  size_t n;
} el_svg_line;

typedef struct el_svg_chart {
  const char *title;             /* NULL: none */
  const char *x_title, *y_title; /* with units; y_title "": none */
  bool x_log, y_log, y_zero;     /* y_zero: the axis begins at 0 */
  double x_least, x_most;        /* that the axis must reach, NAN: the data's own */
  double y_least, y_most;
  double x_mark, y_mark; /* a dashed rule across, NAN: none */
  const char *mark;      /* what the rule says */
  const el_svg_line *lines;
  size_t n_lines;
} el_svg_chart;

/* Nothing is drawn when no line has a point. `id` tells the charts of a page apart. */
void el_svg_chart_draw(el_text *t, const el_svg_chart *c, int id);

#endif
