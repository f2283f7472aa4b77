/* The prompts of router profile: whatever opens is text within its limits, can be scored, and goes through CSV and
 * back. */
#include <assert.h>
#include <string.h>

#include "base/csv.h"
#include "cli/profile_prompts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void score_all(const el_prompt *p) {
  static const el_scorer_kind kinds[] = {EL_SCORER_EXACT, EL_SCORER_CONTAINS, EL_SCORER_JSON, EL_SCORER_F1};
  el_scoring s = {.prompt = p->text,
                  .adapter = "x",
                  .expected = (const char *const *)p->expected,
                  .n_expected = p->n_expected,
                  .answer = {p->text, strlen(p->text)}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    double score = -1;
    el_error e;
    assert(!el_score(kinds[i], &s, &score, &e) && score >= 0 && score <= 1);
  }
  /* An answer is as good as can be beside itself. */
  const char *self = p->text;
  double exact = 0, f1 = 0;
  s.expected = &self;
  s.n_expected = 1;
  assert(!el_score(EL_SCORER_EXACT, &s, &exact, NULL) && exact == 1);
  assert(!el_score(EL_SCORER_F1, &s, &f1, NULL) && f1 == 1);
}

static void through_csv(const char *text) {
  el_buf b = {0};
  bool any = false;
  if (!el_csv_write(&b, text, strlen(text))) __builtin_trap();
  el_csv c = el_csv_open("fuzz", b.data, b.len);
  assert(!el_csv_read(&c, &any, NULL) && any && c.n == 1 && el_str_eq(el_csv_field(&c, 0), text) && c.p == c.end);
  el_csv_free(&c);
  el_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  el_prompts p = {0};
  el_error e = {0};
  if (el_prompts_parse("fuzz", (const char *)data, size, &p, &e)) {
    assert(!p.items && e.message[0]);
    return 0;
  }
  assert(p.n > 0);
  for (size_t i = 0; i < p.n; i++) {
    const el_prompt *row = &p.items[i];
    assert(row->text[0] && row->line > 0 && (!row->own_scorer || row->n_expected > 0));
    score_all(row);
    through_csv(row->text);
  }
  el_prompts_free(&p);
  return 0;
}
