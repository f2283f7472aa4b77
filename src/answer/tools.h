/* The tools of a request: their names, and what is needed to read and to constrain their
 * arguments. */
#ifndef EL_ANSWER_TOOLS_H
#define EL_ANSWER_TOOLS_H

#include "base/text.h"
#include "edgelora.h"

/* The kinds of parameters' values that forms of calls write differently. */
typedef enum el_parameter_kind {
  EL_PARAMETER_TEXT,
  EL_PARAMETER_NUMBER,
  EL_PARAMETER_BOOL,
  EL_PARAMETER_OTHER
} el_parameter_kind;

typedef struct el_parameter {
  const char *name;
  el_parameter_kind kind;
  bool required;
  el_str schema;       /* JSON text, without the definitions that it may refer to */
  const char **values; /* [n_values] TEXT: the only values it may have; n_values 0: any */
  size_t n_values;
} el_parameter;

typedef struct el_tool {
  const char *name;
  el_str description; /* empty: none */
  el_str parameters;  /* JSON text of the schema of its arguments; without one, an object with
                       * anything in it */
  bool strict;
  bool open;          /* the schema itself says what may be there besides its properties */
  bool listed;        /* the schema only lists properties, some of them required */
  bool others;        /* other properties are allowed besides them */
  el_parameter *list; /* [n_list] its properties, in their order */
  size_t n_list;
  el_str definitions; /* `"$defs": {...}` and the like, which schemas of parameters refer to; empty:
                       * none */
} el_tool;

struct el_tools {
  el_tool *tools;
  size_t n;
};

/* The index of the tool with this name; SIZE_MAX: none. */
size_t el_tools_find(const el_tools *t, el_str name);
/* Whether this parameter is a string by its schema. */
bool el_tool_takes_text(const el_tool *t, el_str parameter);

#endif
