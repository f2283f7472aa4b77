#include "bench/report/svg.h"

#include <stdlib.h>
#include <string.h>

#include "bench/report/ticks.h"

/* The drawing's own pixels. A page shows it near this size, so that its text is as large as the page's. */
enum { WIDTH = 400, HEIGHT = 250, TOP = 30, TOP_WITHOUT_TITLE = 12, BOTTOM = 44, RIGHT = 16 };
enum { X_TICKS = 7, Y_TICKS = 6, LOG_TICKS = 9, DIGIT_WIDTH = 7 };

typedef struct frame {
  el_ticks x, y;
  int left, top;
} frame;

static double at_x(const frame *f, double x) {
  return f->left + el_ticks_place(&f->x, x) * (WIDTH - RIGHT - f->left);
}

static double at_y(const frame *f, double y) {
  return HEIGHT - BOTTOM - el_ticks_place(&f->y, y) * (HEIGHT - BOTTOM - f->top);
}

static double tenth(double x) {
  return round(x * 10) / 10;
}

/* A coordinate with one decimal, and none where it is zero. */
static void put_xy(el_text *t, char command, double x, double y) {
  el_text_printf(t, "%c%.4g %.4g", command, tenth(x), tenth(y));
}

/* ---- axes */

typedef struct range {
  double low, high;
} range;

static void widen(range *r, double value) {
  if (!isfinite(value)) return;
  if (!(value >= r->low)) r->low = value;
  if (!(value <= r->high)) r->high = value;
}

/* Without a point there is no range. */
static bool find_ranges(const el_svg_chart *c, range *x, range *y) {
  *x = *y = (range){NAN, NAN};
  for (size_t i = 0; i < c->n_lines; i++) {
    for (size_t k = 0; k < c->lines[i].n; k++) {
      const el_svg_point *p = &c->lines[i].points[k];
      /* A logarithmic axis has no place for 0: it stands at the axis' end. */
      if (!c->x_log || p->x > 0) widen(x, p->x);
      for (int j = 0; j < 3; j++) {
        double value = j == 0 ? p->y : j == 1 ? p->low : p->high;
        if (!c->y_log || value > 0) widen(y, value);
      }
    }
  }
  if (isnan(x->low) || isnan(y->low)) return false;
  if (c->y_zero) widen(y, 0);
  widen(x, c->x_least);
  widen(x, c->x_most);
  widen(x, c->x_mark);
  widen(y, c->y_least);
  widen(y, c->y_most);
  widen(y, c->y_mark);
  return true;
}

static void draw_axes(el_text *t, const el_svg_chart *c, const frame *f) {
  char label[32];
  int bottom = HEIGHT - BOTTOM;
  el_text_put(t, "<path class=\"grid\" d=\"");
  for (int i = 0; i < f->y.n; i++) {
    put_xy(t, 'M', f->left, at_y(f, f->y.at[i]));
    el_text_printf(t, "H%d", WIDTH - RIGHT);
  }
  el_text_printf(t, "\"/><path class=\"axis\" d=\"M%d %dH%d", f->left, bottom, WIDTH - RIGHT);
  for (int i = 0; i < f->x.n; i++) {
    put_xy(t, 'M', at_x(f, f->x.at[i]), bottom);
    el_text_put(t, "v4");
  }
  el_text_put(t, "\"/><g class=\"tick\" text-anchor=\"end\">");
  for (int i = 0; i < f->y.n; i++) {
    el_ticks_label(&f->y, f->y.at[i], label, sizeof label);
    el_text_printf(t, "<text x=\"%d\" y=\"%.1f\">%s</text>", f->left - 6, at_y(f, f->y.at[i]) + 4, label);
  }
  el_text_put(t, "</g><g class=\"tick\" text-anchor=\"middle\">");
  for (int i = 0; i < f->x.n; i++) {
    el_ticks_label(&f->x, f->x.at[i], label, sizeof label);
    el_text_printf(t, "<text x=\"%.1f\" y=\"%d\">%s</text>", at_x(f, f->x.at[i]), bottom + 17, label);
  }
  el_text_printf(t, "</g><text class=\"unit\" text-anchor=\"middle\" x=\"%d\" y=\"%d\">", (f->left + WIDTH - RIGHT) / 2,
                 HEIGHT - 8);
  el_text_xml(t, c->x_title);
  /* The y axis' name lies above it: turned text is hard to read. */
  el_text_put(t, "</text>");
  if (!*c->y_title) return;
  el_text_printf(t, "<text class=\"unit\" x=\"2\" y=\"%d\">", f->top - 12);
  el_text_xml(t, c->y_title);
  el_text_put(t, "</text>");
}

static void draw_mark(el_text *t, const el_svg_chart *c, const frame *f) {
  bool upright = isfinite(c->x_mark);
  if (!upright && !isfinite(c->y_mark)) return;
  double x = at_x(f, c->x_mark), y = at_y(f, c->y_mark);
  el_text_put(t, "<path class=\"rule\" d=\"");
  if (upright) {
    put_xy(t, 'M', x, f->top);
    el_text_printf(t, "V%d", HEIGHT - BOTTOM);
  } else {
    put_xy(t, 'M', f->left, y);
    el_text_printf(t, "H%d", WIDTH - RIGHT);
  }
  bool before = upright && x > (f->left + WIDTH) / 2.0; /* the text stands where there is room */
  bool under = !upright && y < f->top + 14;
  el_text_printf(t, "\"/><text class=\"tick\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">",
                 before || !upright ? "end" : "start", upright ? x + (before ? -4 : 4) : WIDTH - RIGHT - 2,
                 upright ? f->top + 9 : y + (under ? 12 : -4));
  el_text_xml(t, c->mark ? c->mark : "");
  el_text_put(t, "</text>");
}

/* ---- lines */

/* Points that fall on the same half pixel. They are drawn as one, from the highest to the lowest, so no peak is lost.
 */
typedef struct pixel_run {
  double x, begin, high, low, end; /* y grows downwards: the high one is the least number */
  bool any;
} pixel_run;

static void end_run(el_text *t, pixel_run *r, el_svg_shape shape, bool *first) {
  if (!r->any) return;
  if (*first)
    put_xy(t, 'M', r->x, r->begin);
  else if (shape == EL_SVG_STEPS)
    el_text_printf(t, "H%.4gV%.4g", tenth(r->x), tenth(r->begin));
  else
    put_xy(t, 'L', r->x, r->begin);
  double at = r->begin;
  if (r->high < fmin(r->begin, r->end)) el_text_printf(t, "V%.4g", tenth(at = r->high));
  if (r->low > fmax(r->begin, r->end)) el_text_printf(t, "V%.4g", tenth(at = r->low));
  if (r->end != at) el_text_printf(t, "V%.4g", tenth(r->end));
  *first = false;
  r->any = false;
}

static void draw_line(el_text *t, const frame *f, const el_svg_line *l) {
  bool first = true;
  pixel_run run = {.any = false};
  el_text_put(t, "<path class=\"line\" d=\"");
  for (size_t i = 0; i < l->n; i++) {
    if (!isfinite(l->points[i].x) || !isfinite(l->points[i].y)) continue;
    double x = at_x(f, l->points[i].x), y = at_y(f, l->points[i].y);
    /* Lines have few points, each with a mark. */
    if (run.any && (l->shape == EL_SVG_LINE || floor(x * 2) != floor(run.x * 2))) end_run(t, &run, l->shape, &first);
    if (!run.any) run = (pixel_run){x, y, y, y, y, true};
    run.high = fmin(run.high, y);
    run.low = fmax(run.low, y);
    run.end = y;
  }
  end_run(t, &run, l->shape, &first);
  el_text_put(t, "\"/>");
}

static void draw_marks(el_text *t, const frame *f, const el_svg_line *l) {
  for (size_t i = 0; i < l->n; i++) {
    const el_svg_point *p = &l->points[i];
    if (!isfinite(p->x) || !isfinite(p->y)) continue;
    double x = at_x(f, p->x);
    if (p->high > p->low) {
      el_text_put(t, "<path class=\"bar\" d=\"");
      put_xy(t, 'M', x, at_y(f, p->low));
      el_text_printf(t, "V%.4g\"/>", tenth(at_y(f, p->high)));
    }
    el_text_printf(t, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>", x, at_y(f, p->y));
  }
}

/* A dot is a line of no length with round ends: one path for all of them. */
static void draw_dots(el_text *t, const frame *f, const el_svg_line *l) {
  unsigned char *taken = calloc(WIDTH * HEIGHT, 1);
  if (!taken) {
    t->failed = true;
    return;
  }
  el_text_put(t, "<path class=\"dots\" d=\"");
  for (size_t i = 0; i < l->n; i++) {
    if (!isfinite(l->points[i].x) || !isfinite(l->points[i].y)) continue;
    int x = (int)lround(at_x(f, l->points[i].x)), y = (int)lround(at_y(f, l->points[i].y));
    if (taken[y * WIDTH + x]) continue;
    taken[y * WIDTH + x] = 1;
    el_text_printf(t, "M%d %dh0", x, y);
  }
  el_text_put(t, "\"/>");
  free(taken);
}

void el_svg_chart_draw(el_text *t, const el_svg_chart *c, int id) {
  range x, y;
  if (!find_ranges(c, &x, &y)) return;
  frame f = {.x = c->x_log ? el_ticks_log(x.low, x.high, LOG_TICKS) : el_ticks_linear(x.low, x.high, X_TICKS),
             .y = c->y_log ? el_ticks_log(y.low, y.high, LOG_TICKS) : el_ticks_linear(y.low, y.high, Y_TICKS),
             .top = *c->y_title ? TOP : TOP_WITHOUT_TITLE};
  size_t longest = 1;
  for (int i = 0; i < f.y.n; i++) {
    char label[32];
    el_ticks_label(&f.y, f.y.at[i], label, sizeof label);
    if (strlen(label) > longest) longest = strlen(label);
  }
  f.left = 14 + DIGIT_WIDTH * (int)longest;

  el_text_printf(t,
                 "<svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"chart%d\" "
                 "xmlns=\"http://www.w3.org/2000/svg\">",
                 WIDTH, HEIGHT, id);
  el_text_printf(t, "<title id=\"chart%d\">", id);
  el_text_xml(t, c->title ? c->title : c->y_title);
  el_text_put(t, "</title>");
  draw_axes(t, c, &f);
  for (size_t i = 0; i < c->n_lines; i++) {
    const el_svg_line *l = &c->lines[i];
    if (!l->n) continue;
    el_text_printf(t, "\n<g class=\"s%d%s\"><title>", l->series % EL_SVG_COLOURS + 1,
                   l->series >= EL_SVG_COLOURS ? " again" : "");
    el_text_xml(t, l->name);
    el_text_put(t, "</title>");
    if (l->shape == EL_SVG_DOTS)
      draw_dots(t, &f, l);
    else
      draw_line(t, &f, l);
    if (l->shape == EL_SVG_LINE) draw_marks(t, &f, l);
    el_text_put(t, "</g>");
  }
  draw_mark(t, c, &f); /* what it says stands before lines and dots */
  el_text_put(t, "</svg>\n");
}
