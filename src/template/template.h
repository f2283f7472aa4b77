/* Chat templates: Jinja programs, run. See README.md for what of the language there is, and what is refused.
 *
 * A template is compiled once and rendered any number of times, from any threads. It is as hostile as any file:
 * compiling and rendering are bounded, and their errors name the line. */
#ifndef EL_TEMPLATE_TEMPLATE_H
#define EL_TEMPLATE_TEMPLATE_H

#include "base/buf.h"
#include "base/text.h"
#include "edgelora.h"

typedef struct el_template el_template;

enum {
  EL_TEMPLATE_MAX_BYTES = 1 << 20, /* of a template; the largest in use have 40 thousand */
  EL_TEMPLATE_MAX_DEPTH = 200      /* of what is nested in each other, in a template and while it runs */
};

/* EL_ERR_INVALID: it is no Jinja template. EL_ERR_UNSUPPORTED: it has a statement that there is not here. Filters,
 * tests and functions that there are not are an error of the rendering that comes to them. */
el_status el_template_new(el_str text, el_template **out, el_error *err);
void el_template_free(el_template *t);

/* What a rendering may take; 0: the default. */
typedef struct el_template_limits {
  uint64_t steps;        /* operations, and bytes that they read, 64 a step: 50 million, about a second */
  size_t memory, output; /* bytes: 256 MiB, 64 MiB */
} el_template_limits;

/* --- values, made while a rendering begins */

typedef struct el_rendering el_rendering;
typedef struct el_val el_val; /* of the rendering, gone with it */

/* Where texts come from: 0 is the template itself, the other numbers are the caller's. It is told in the end of every
 * part of the output, through whatever the template did with it. */
typedef uint32_t el_origin;

/* Sets the variables. What is out of memory or over a limit does not come back from these functions. */
typedef void (*el_template_fn)(el_rendering *r, void *user);
void el_template_set(el_rendering *r, const char *name, const el_val *value);
/* Strings are not copied, and must stay until the rendering is over. */
/* Memory of the rendering. */
void *el_template_room(el_rendering *r, size_t bytes);
/* Texts with line ends between. */
const el_val *el_template_lines(el_rendering *r, const el_str *texts, size_t n, el_origin source);
const el_val *el_template_none(el_rendering *r);
const el_val *el_template_bool(el_rendering *r, bool b);
const el_val *el_template_string(el_rendering *r, el_str s, el_origin source);
/* All strings of it, and the keys of its objects, come from `source`. */
const el_val *el_template_value(el_rendering *r, const el_value *value, el_origin source);
el_val *el_template_list(el_rendering *r);
void el_template_append(el_rendering *r, el_val *list, const el_val *item);
el_val *el_template_dict(el_rendering *r);
/* An item of this key that is there is replaced. */
void el_template_put(el_rendering *r, el_val *dict, const char *key, el_origin source, const el_val *value);

/* --- rendering */

/* Bytes begin to end - 1 of an output come from `source`, which is not 0. */
typedef struct el_template_part {
  size_t begin, end;
  el_origin source;
} el_template_part;

typedef struct el_rendered {
  el_buf text;             /* data may be NULL when nothing was rendered */
  el_template_part *parts; /* in order, disjoint, none empty */
  size_t n_parts;
} el_rendered;

/* now: seconds since 1970, what strftime_now tells, in local time. EL_ERR_INVALID: the template refuses this
 * conversation (raise_exception: the message is its own), fails with it, or goes over a limit. EL_ERR_UNSUPPORTED: it
 * came to something that there is not here. `out` is written on success alone; free it with el_rendered_free. */
el_status el_template_render(const el_template *t, el_template_fn set, void *user, int64_t now,
                             const el_template_limits *limits, el_rendered *out, el_error *err);
void el_rendered_free(el_rendered *r);

#endif
