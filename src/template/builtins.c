/* Looks up names in the tables of built-in functions. */
#include "template/builtins.h"

#include <string.h>

const el_function *el_find(const el_function *table, el_str name) {
  for (; table->name; table++)
    if (el_str_eq(name, table->name)) return table;
  return NULL;
}

const el_function *el_filter_find(el_str name) {
  const el_function *const tables[] = {el_text_filters, el_list_filters, el_number_filters}, *found = NULL;
  for (size_t i = 0; i < 3 && !found; i++) found = el_find(tables[i], name);
  return found;
}

const el_function *el_test_find(el_str name) {
  return el_find(el_tests, name);
}

el_val el_apply_filter(el_rendering *r, const el_node *n, el_val self, const el_arguments *a) {
  const el_function *f = n->builtin;
  char show[EL_SHOW];
  if (!f)
    el_task_fail(&r->task, EL_ERR_UNSUPPORTED, "there is no filter '%s'",
                 el_str_show((el_str){n->text->data, n->text->len}, show, sizeof show));
  el_down(r);
  el_step(r, 0);
  el_val v = f->fn(r, self, a);
  r->depth--;
  return v;
}

bool el_apply_test(el_rendering *r, el_str name, const el_function *test, el_val self, const el_arguments *a) {
  char show[EL_SHOW];
  if (!test) el_task_fail(&r->task, EL_ERR_UNSUPPORTED, "there is no test '%s'", el_str_show(name, show, sizeof show));
  el_step(r, 0);
  return test->fn(r, self, a).b;
}
