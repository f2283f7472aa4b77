/* The tools of a request: their names, and what is needed to read and to constrain their arguments. */
#ifndef EL_ANSWER_TOOLS_H
#define EL_ANSWER_TOOLS_H

#include "edgelora.h"
#include "format/text.h"

enum { EL_MAX_TOOLS = 1024, EL_MAX_TOOL_NAME = 128 };

typedef struct el_tool {
  const char *name;
  el_str description; /* empty: none */
  el_str parameters;  /* JSON text of the schema of its arguments; an object of anything where there is none */
  bool strict;
  bool open;          /* the schema says of itself what may be there besides its properties */
  const char **texts; /* [n_texts] parameters that are strings by the schema */
  size_t n_texts;
} el_tool;

struct el_tools {
  el_tool *tools;
  size_t n;
};

/* The index of the tool of this name; SIZE_MAX: none. */
size_t el_tools_find(const el_tools *t, el_str name);
/* Whether this parameter of tool `i` is a string by its schema. */
bool el_tool_takes_text(const el_tool *t, el_str parameter);

#endif
