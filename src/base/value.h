/* Looking into el_value: what JSON of a request becomes on its way to templates and tools. */
#ifndef EL_BASE_VALUE_H
#define EL_BASE_VALUE_H

#include <string.h>

#include "edgelora.h"

/* The value of an object's first member of this name. NULL: it has none, or `object` is no object,
 * or NULL. */
static inline const el_value *el_value_member(const el_value *object, const char *name) {
  for (size_t i = 0; object && object->type == EL_VALUE_OBJECT && i < object->object.n; i++)
    if (!strcmp(object->object.members[i].name, name)) return &object->object.members[i].value;
  return NULL;
}

#endif
