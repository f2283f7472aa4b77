/* Chat templates: Jinja programs, compiled and run. README.md says which language features are
 * supported and which are refused.
 *
 * A template is compiled once and rendered any number of times, from any threads. It is as hostile
 * as any file: compiling and rendering are bounded, and errors name the line. */
#ifndef EL_TEMPLATE_TEMPLATE_H
#define EL_TEMPLATE_TEMPLATE_H

#include "base/buf.h"
#include "base/text.h"
#include "edgelora.h"

typedef struct el_template el_template;

enum {
  EL_TEMPLATE_MAX_BYTES = 1 << 20, /* of a template; the largest in use have 40 thousand */
  EL_TEMPLATE_MAX_DEPTH = 200      /* of nesting, in a template and while it runs */
};

/* EL_ERR_INVALID: not a Jinja template. EL_ERR_UNSUPPORTED: it has a statement that is not
 * supported. Unknown filters, tests and functions are errors only when rendering reaches them. */
el_status el_template_new(el_str text, el_template **out, el_error *err);
void el_template_free(el_template *t);

/* What a rendering may use; 0: the default. */
typedef struct el_template_limits {
  uint64_t steps;        /* operations, and the bytes that they read, 64 to a step: 50 million,
                          * about a second */
  size_t memory, output; /* bytes: 256 MiB and 64 MiB */
} el_template_limits;

/* --- values, made at the beginning of a rendering */

typedef struct el_rendering el_rendering;
typedef struct el_val el_val; /* belongs to the rendering and goes with it */

/* Where texts come from: 0 is the template itself, other numbers are the caller's. Every span of
 * the output has its origin, whatever the template did with the text. */
typedef uint32_t el_origin;

/* Sets the variables. The functions below do not return if memory or a limit is
 * exhausted. Strings are not copied, and must outlive the rendering. */
typedef void (*el_template_fn)(el_rendering *r, void *user);
void el_template_set(el_rendering *r, const char *name, const el_val *value);
/* Memory of the rendering. */
void *el_template_room(el_rendering *r, size_t bytes);
/* Texts joined by line ends. */
const el_val *el_template_lines(el_rendering *r, const el_str *texts, size_t n, el_origin source);
const el_val *el_template_none(el_rendering *r);
const el_val *el_template_bool(el_rendering *r, bool b);
const el_val *el_template_string(el_rendering *r, el_str s, el_origin source);
/* All strings in it, and the keys of its objects, come from `source`. */
const el_val *el_template_value(el_rendering *r, const el_value *value, el_origin source);
el_val *el_template_list(el_rendering *r);
void el_template_append(el_rendering *r, el_val *list, const el_val *item);
el_val *el_template_dict(el_rendering *r);
/* Replaces an item that has the same key. */
void el_template_put(el_rendering *r, el_val *dict, const char *key, el_origin source, const el_val *value);

/* --- rendering */

/* Bytes begin to end - 1 of an output come from `source`, which is not 0. */
typedef struct el_template_span {
  size_t begin, end;
  el_origin source;
} el_template_span;

typedef struct el_rendered {
  el_buf text;             /* data may be NULL if nothing was rendered */
  el_template_span *spans; /* in order, disjoint, none empty */
  size_t n_spans;
} el_rendered;

/* now: seconds since 1970, for strftime_now, in local time. EL_ERR_INVALID: the template refuses
 * this conversation (the message is that of raise_exception), fails with it, or exceeds a limit.
 * EL_ERR_UNSUPPORTED: it reached something that is not supported. `out` is written only on success;
 * free it with el_rendered_free. */
el_status el_template_render(const el_template *t, el_template_fn set, void *user, int64_t now,
                             const el_template_limits *limits, el_rendered *out, el_error *err);
void el_rendered_free(el_rendered *r);

#endif
