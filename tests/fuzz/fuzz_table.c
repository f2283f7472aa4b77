/* Profiling tables: whatever opens has valid text and scores from 0 to 1 in every row. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "router/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s) {
  size_t len = strlen(s);
  for (size_t i = 0; i < len;) {
    int n = el_utf8_length(s + i, len - i);
    assert(n > 0);
    i += (size_t)n;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  el_table *t = NULL;
  el_error e = {0};
  if (el_table_parse((const char *)data, size, "fuzz", &t, &e)) {
    assert(!t && e.message[0]);
    return 0;
  }
  assert(t->n_rows > 0 && t->n_columns > 0 && t->base < t->n_columns);
  for (int c = 0; c < t->n_columns; c++) {
    check_text(t->names[c]);
    assert(el_table_column(t, t->names[c]) == c);
  }
  for (size_t i = 0; i < t->n_rows; i++) {
    assert(t->prompts[i][0]);
    check_text(t->prompts[i]);
    if (t->tasks) check_text(t->tasks[i]);
    for (int c = 0; c < t->n_columns; c++) {
      float score = t->scores[i * (size_t)t->n_columns + (size_t)c];
      assert(score >= 0 && score <= 1);
    }
  }
  el_table_free(t);
  return 0;
}
